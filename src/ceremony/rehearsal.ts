import { join } from 'node:path'
import { stringify } from 'yaml'
import type { Config } from '../config/config.ts'
import { createFile } from '../platform/create-file.ts'
import { makeDirectory } from '../platform/files.ts'
import { ceremonyFolder, type LoadedPlan, nextRehearsal } from './folder.ts'
import { renderPlan } from './plan-text.ts'

/** A place of its own for a rehearsal: a configuration with one key that nobody needs, and the same custodians. */
export type Rehearsal = {
  readonly path: string
  readonly config: string
  /** Commands that come before the first step, where it needs a key that is there already. */
  readonly before: readonly (readonly string[])[]
}

const note = `REHEARSAL

Everything in this folder comes from a rehearsal of a ceremony. Its key was made for the rehearsal and protects
nothing. Its shares begin with KVXTEST1: no program takes them for shares of a key. The folder may be deleted.
`

/** @throws of the files; nothing outside the new folder is touched */
export async function prepareRehearsal(
  ceremony: string,
  { plan, bytes, digest }: LoadedPlan,
  real: Config | undefined,
): Promise<Rehearsal> {
  const path = await nextRehearsal(ceremony)
  const folder = ceremonyFolder(path)
  await makeDirectory(path, 0o700)
  await createFile(folder.plan, bytes, { mode: 0o644 })
  await createFile(folder.script, Buffer.from(renderPlan(plan, digest)), { mode: 0o644 })
  await createFile(join(path, 'REHEARSAL.txt'), Buffer.from(note), { mode: 0o644 })
  const config = join(path, 'kvx.yaml')
  await createFile(config, Buffer.from(rehearsalConfig(plan.key, real)), { mode: 0o600 })
  const needsKey = plan.kind !== 'key-generation'
  const needsShares = plan.kind === 'recovery' || plan.kind === 'custodian-change'
  return {
    path,
    config,
    before: [
      ['init', '--no-input'],
      ...(needsKey ? [['keygen', plan.key]] : []),
      ...(needsShares ? [['backup', 'split', plan.key]] : []),
    ],
  }
}

function rehearsalConfig(key: string, real: Config | undefined): string {
  // Shares alone: an OpenPGP backup of this key would look like one of a real key.
  const { custodians, ...numbers } = real?.keys[key]?.backup?.shares ?? {}
  // Nothing of a rehearsal is sent to anybody.
  const people = custodians?.map(({ name, openpgp, ssh }) => ({ name, openpgp, ssh }))
  const fake = {
    purpose: real?.keys[key]?.purpose ?? 'kek',
    publish: [{ file: `${key}.key`, previous: `${key}.key.previous` }],
    ...(people === undefined
      ? {}
      : { backup: { shares: JSON.parse(JSON.stringify({ ...numbers, custodians: people })) as object } }),
  }
  return `# REHEARSAL: the key of this configuration protects nothing.\n${stringify({ kvx: 1, rehearsal: true, keys: { [key]: fake } })}`
}
