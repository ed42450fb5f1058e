import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { shareReceipt } from '../../../src/backup/shares/receipts.ts'
import { recombine } from '../../../src/core/share/recombine.ts'
import { splitShareTexts } from '../../../src/core/share/share-lines.ts'
import { decodeShare, type Share } from '../../../src/core/share/share-text.ts'
import type { GpgHome } from '../../support/gpg.ts'
import type { Scenario } from './engine.ts'
import { fingerprint, type Site } from './site.ts'

type Set = { readonly set: string; readonly state: string; readonly manifest: string }

/** What makes a key that is divided, and the people who hold it. */
export type Custody = {
  readonly gpg: () => GpgHome
  /** `--custodian NAME=FPR` for each of two people. */
  readonly people: () => readonly string[]
  /** A site with a key, after these commands. */
  readonly site: (...steps: readonly (readonly string[])[]) => Promise<Site>
}

/**
 * A key is dealt anew, and the new set becomes active: at every instant one set is active and whole, the old one is
 * superseded only when the new one is active, and the list says which is which.
 */
export function shareScenarios({ gpg, people, site }: Custody): readonly Scenario[] {
  const divided = async (): Promise<Site> => {
    const made = await site(['backup', 'split', 'master', '--threshold', '2', ...people()])
    const [first] = await sets(made)
    for (const index of [1, 2]) made.ok(...confirm(made, gpg(), first, index))
    return made
  }
  const always = async (at: Site): Promise<void> => expectHonest(at, gpg())
  /** Of each site: two are tried side by side. */
  const last = new Map<Site, readonly string[]>()
  return [
    {
      title: 'backup reshare',
      store: 'home',
      make: divided,
      args: () => ['backup', 'reshare', 'master'],
      always,
      done: async (at) => {
        const states = (await sets(at)).map(({ state }) => state)
        assert.equal(states[0], 'active')
        assert.ok(states.includes('pending'))
      },
    },
    {
      title: 'backup confirm, of the last share',
      store: 'home',
      make: async () => {
        const made = await divided()
        made.ok('backup', 'reshare', 'master')
        const [, second] = await sets(made)
        made.ok(...confirm(made, gpg(), second, 1))
        last.set(made, confirm(made, gpg(), second, 2))
        return made
      },
      args: (at) => last.get(at) ?? [],
      always,
      already: ['FINGERPRINT_DIFFERS'],
      done: async (at) =>
        assert.deepEqual(
          (await sets(at)).map(({ state }) => state),
          ['superseded', 'active'],
        ),
    },
  ]
}

async function sets(site: Site): Promise<readonly Set[]> {
  return (await site.ask<{ shareSets: readonly Set[] }>('backup', 'list')).data.shareSets
}

/** What gpg gave for a file: those of the first set are the same at every point. */
const opened = new Map<string, Share>()

/** The shares of a set as its custodians read them, with gpg alone. */
function sharesOf(gpg: GpgHome, { manifest }: Pick<Set, 'manifest'>): readonly Share[] {
  const folder = join(manifest, '..')
  const files = readdirSync(folder).filter((name) => name.endsWith('.asc'))
  return files.toSorted().map((name) => {
    const sealed = readFileSync(join(folder, name), 'utf8')
    const known = opened.get(sealed)
    if (known !== undefined) return known
    const [text = new Uint8Array()] = splitShareTexts(gpg.decrypt(Buffer.from(sealed)))
    const share = decodeShare(text)
    opened.set(sealed, share)
    return share
  })
}

function confirm(site: Site, gpg: GpgHome, set: Set | undefined, index: number): readonly string[] {
  assert.ok(set !== undefined, 'there is a share set')
  const share = sharesOf(gpg, set)[index - 1]
  assert.ok(share !== undefined, `there is a share ${index} in ${site.path}`)
  return ['backup', 'confirm', set.set, '--index', String(index), '--receipt', shareReceipt(share, 1)]
}

async function expectHonest(site: Site, gpg: GpgHome): Promise<void> {
  const { data, warnings } = await site.ask<{ shareSets: readonly Set[] }>('backup', 'list')
  const [old, ...newer] = data.shareSets
  const named = warnings.map(({ message }) => message).join('; ')
  assert.ok(old !== undefined, `the old set is listed; ${named}`)
  const wanted = fingerprint(site.material(1))
  for (const set of data.shareSets) {
    const { material } = await recombine(sharesOf(gpg, set), wanted)
    assert.deepEqual(
      material.lend((bytes) => Buffer.from(bytes)),
      site.material(1),
      `set ${set.set}, ${set.state}, rebuilds the key`,
    )
  }
  const isNewActive = newer.some(({ state }) => state === 'active')
  if (old.state !== 'active') assert.ok(isNewActive, `the old set is ${old.state}, and no new one is active`)
  assert.ok(['active', 'superseded'].includes(old.state), `the old set is ${old.state}`)
}
