import type { Config } from '../../config/config.ts'
import { nearest } from '../../config/nearest.ts'
import { KvxError } from '../../core/errors.ts'
import { compileDerivation } from '../../core/layout/derivation.ts'
import type { Secret } from '../../core/secret.ts'
import type { Keyring } from '../../keyring/keyring-file.ts'
import { loadOpeners } from '../../keyring/openers.ts'
import { readKeyring } from '../../keyring/keyring.ts'
import type { Workspace } from '../../keyring/workspace.ts'
import { openStore } from '../../stores/open-store.ts'
import type { Events } from '../events.ts'
import { declaredColumns } from './declared.ts'
import { discover, type DiscoverInput } from './discover.ts'
import type { Discovery, TrialKey } from './find.ts'

export type WorkspaceDiscovery = {
  /** Names of stores; all of them when empty. */
  readonly stores: readonly string[]
  /** Names of keys whose versions are tried; all of the ring unless told. */
  readonly keys?: readonly string[]
  /** More keys than the ring has. They stay the caller's. */
  readonly more?: readonly TrialKey[]
  readonly sample: number
  readonly events: Events
}

/**
 * {@link discover} over the configured stores with the keys of the ring, retired versions among them.
 * @throws STORE_UNKNOWN and what stores throw that cannot be opened
 */
export async function discoverInWorkspace(
  { config, home }: Pick<Workspace, 'config' | 'home'>,
  options: WorkspaceDiscovery,
): Promise<Discovery> {
  const names = requireStores(config, options.stores)
  const ring = await readKeyring(home)
  const keys: TrialKey[] = []
  try {
    for (const name of options.keys ?? Object.keys(ring.keys)) {
      keys.push(...(await versionsOf({ config, home, ring }, name)))
    }
    const { sample, events, more = [] } = options
    const rest = {
      declared: declaredColumns(config),
      envelopes: Object.keys(config.envelopes),
      sample,
      events,
    }
    return await discoverIn(config, names, { ...rest, keys: [...keys, ...more] })
  } finally {
    for (const { material } of keys) material.wipe()
  }
}

type Ring = { readonly config: Config; readonly home: Workspace['home']; readonly ring: Keyring }

/** Every version of a key: what the configured derivation makes of it first, where there is one, then as it is. */
async function versionsOf({ config, home, ring }: Ring, name: string): Promise<readonly TrialKey[]> {
  if (!Object.hasOwn(ring.keys, name)) return []
  const materials = await loadOpeners(home, ring, name, { withRetired: true })
  const source = config.keys[name]?.derive
  return [...materials].flatMap(([version, material]) => {
    const derived = source === undefined ? undefined : derivedFrom(source, material)
    return [
      ...(derived === undefined ? [] : [{ name, version, material: derived }]),
      { name, version, material },
    ]
  })
}

/** Undefined for a derivation that takes columns or parts: another key for each record, which nobody can guess. */
function derivedFrom(source: string, key: Secret): Secret | undefined {
  const derivation = compileDerivation(source)
  const { columns, newColumns, partNames } = derivation
  if (columns.size + newColumns.size + partNames.size > 0) return undefined
  return derivation.derive({ key, cell: () => null, newCell: () => null, part: () => undefined })
}

async function discoverIn(
  config: Config,
  names: readonly string[],
  rest: Omit<DiscoverInput, 'stores'>,
): Promise<Discovery> {
  const stores: DiscoverInput['stores'][number][] = []
  try {
    for (const name of names) {
      const one = config.stores[name]
      if (one !== undefined) stores.push({ name, config: one, store: await openStore(name, one) })
    }
    return await discover({ ...rest, stores })
  } finally {
    for (const { store } of stores) await store.close()
  }
}

function requireStores({ stores, path }: Config, wanted: readonly string[]): readonly string[] {
  const known = Object.keys(stores)
  for (const name of wanted) {
    if (known.includes(name)) continue
    const meant = nearest(name, known)
    throw new KvxError('STORE_UNKNOWN', `${path} names no store ${JSON.stringify(name.slice(0, 64))}`, {
      hint:
        meant === undefined
          ? `Add it under \`stores:\`, or name it by where it lies: \`kvx discover sqlite:PATH --key-file FILE\`.`
          : `Did you mean ${meant}?`,
    })
  }
  return wanted.length === 0 ? known : wanted
}
