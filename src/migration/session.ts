import type { Config } from '../config/config.ts'
import { nearest } from '../config/nearest.ts'
import { KvxError } from '../core/errors.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { readKeyring } from '../keyring/keyring.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { acquireLocks } from '../platform/lock.ts'
import { lockPlaceOf, lockServer, openStore } from '../stores/open-store.ts'
import type { ServerLock } from '../stores/server-lock.ts'
import type { Store } from '../stores/store.ts'
import { compileEnvelopes } from './envelope/compile-envelope.ts'
import type { Envelope } from './envelope/envelope.ts'
import { envelopeWorkload, type OpenEnvelope } from './envelope-workload.ts'
import { KeyBook } from './envelope/key-book.ts'
import { gently, givesWay } from './giving-way.ts'
import { HelperRoom } from './threads/helpers.ts'
import { vaultPlace, vaultWorkload } from './vault-workload.ts'
import type { Workload } from './workload.ts'

/** What a command works on, with stores and keys open. Close it: it holds locks and key material. */
export type Session = {
  readonly workspace: Workspace
  readonly ring: Keyring
  readonly workloads: readonly Workload[]
  close(): Promise<void>
}

export type SessionOptions = {
  /** Names of envelopes and vaults; all of them when empty. */
  readonly names?: readonly string[]
  /** Only envelopes under this key. */
  readonly key?: string
  /** Takes the lock of every store, so that no second run works on it. A look alone needs none. */
  readonly exclusive: boolean
}

/** What the configuration declares, in its order, before anything is opened. */
export function declaredWorkloads(config: Config): readonly Pick<Workload, 'name' | 'key' | 'work'>[] {
  const envelopes = Object.entries(config.envelopes).map(([name, { key, dek }]) => ({
    name,
    key,
    work: dek === undefined ? ('reencrypt' as const) : ('rewrap' as const),
  }))
  const vaults = Object.entries(config.vaults).map(([name, { key }]) => ({
    name,
    key,
    work: 'reencrypt' as const,
  }))
  return [...envelopes, ...vaults]
}

/** Where everything under a key is declared to lie, without opening it. */
export function declaredPlaces(
  config: Config,
  key: string,
): readonly Pick<Workload, 'name' | 'key' | 'place'>[] {
  const envelopes = Object.keys(config.envelopes).length === 0 ? [] : compileEnvelopes(config)
  const vaults = Object.entries(config.vaults).map(([name, vault]) => ({
    name,
    key: vault.key,
    place: vaultPlace(name, vault.directory),
  }))
  return [...envelopes, ...vaults].filter((one) => one.key === key)
}

/** ENVELOPE_UNKNOWN: there is nothing to work on, and how to get there. */
export function nothingDeclared(config: Config): KvxError {
  return new KvxError('ENVELOPE_UNKNOWN', `${config.path} declares no envelope and no vault`, {
    hint: 'Find sealed values: `kvx discover sqlite:FILE --key-file KEY`. For a known application: `kvx init --profile NAME`, of `kvx init --list-profiles`.',
  })
}

/** ENVELOPE_UNKNOWN with the nearest name, for a name that nothing declared has. */
export function unknownWorkload(config: Config, name: string): KvxError {
  const known = declaredWorkloads(config).map((one) => one.name)
  const meant = nearest(name, known)
  return new KvxError('ENVELOPE_UNKNOWN', `${config.path} declares nothing of that name`, {
    hint:
      meant === undefined
        ? `It declares: ${known.join(', ') || 'nothing yet'}. \`docs/layouts.md\` shows how to declare an envelope.`
        : `Did you mean ${meant}?`,
  })
}

/**
 * Opens what the configured envelopes need.
 * @throws ENVELOPE_UNKNOWN, KEY_UNKNOWN, LOCKED, STORE_SHAPE and what stores and key files throw
 */
export async function openSession(workspace: Workspace, options: SessionOptions): Promise<Session> {
  const declared = declaredWorkloads(workspace.config)
  for (const wanted of options.names ?? []) {
    if (!declared.some(({ name }) => name === wanted)) throw unknownWorkload(workspace.config, wanted)
  }
  const { names = [] } = options
  const meant = declared.filter(
    ({ name, key }) =>
      (options.key === undefined || key === options.key) && (names.length === 0 || names.includes(name)),
  )
  const vaults = meant.filter(({ name }) => Object.hasOwn(workspace.config.vaults, name))
  const records = meant.filter((one) => !vaults.includes(one)).map(({ name }) => name)
  const envelopes = records.length === 0 ? [] : compileEnvelopes(workspace.config, records)
  const ring = await readKeyring(workspace.home)
  const stores = new Map<string, OpenStore>()
  const books = new Map<string, KeyBook>()
  let lock: ServerLock | undefined
  const helpers = new HelperRoom(workspace.config, books)
  const close = async (): Promise<void> => {
    await helpers.close()
    for (const book of books.values()) book.wipe()
    for (const { store } of stores.values()) await store.close()
    lock?.release()
  }
  try {
    if (options.exclusive) lock = await lockStores(workspace.config, envelopes)
    for (const { store, key } of envelopes) {
      if (!stores.has(store))
        stores.set(store, paced(await openStore(store, storeConfig(workspace.config, store), lock)))
      if (!books.has(key)) books.set(key, await KeyBook.load(workspace.home, ring, key))
    }
  } catch (error) {
    await close()
    throw error
  }
  const opened = envelopes.map((envelope) =>
    envelopeWorkload({
      envelope,
      ...present(stores.get(envelope.store)),
      book: present(books.get(envelope.key)),
      helpers: async (records) => helpers.for(records),
    }),
  )
  const files = vaults.map(({ name }) => vaultWorkload(workspace, ring, name))
  return { workspace, ring, workloads: [...opened, ...files], close }
}

/** A session for what needs no data: no store is opened, so that none can be in the way. */
export async function emptySession(workspace: Workspace): Promise<Session> {
  return {
    workspace,
    ring: await readKeyring(workspace.home),
    workloads: [],
    close: async () => undefined,
  }
}

type OpenStore = Pick<OpenEnvelope, 'store' | 'rest'>

function paced(store: Store): OpenStore {
  return givesWay() ? gently(store) : { store }
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('the session was opened without it')
  return value
}

/** All of them or none: files first, then servers, each kind in an order of its own. */
async function lockStores(config: Config, envelopes: readonly Envelope[]): Promise<ServerLock> {
  const names = [...new Set(envelopes.map(({ store }) => store))]
  const places = names.map((name) => ({ name, place: lockPlaceOf(storeConfig(config, name)) }))
  const directories = places.flatMap(({ place }) => ('directory' in place ? [place.directory] : []))
  const files = await acquireLocks(directories, 'the store')
  const servers = new Map<string, ServerLock>()
  const release = (): void => [files, ...servers.values()].forEach((lock) => lock.release())
  try {
    const byServer = places.flatMap(({ name, place }) => ('server' in place ? [{ name, place }] : []))
    for (const { name, place } of byServer.sort((a, b) => (a.place.server < b.place.server ? -1 : 1))) {
      if (servers.has(place.server)) continue
      servers.set(place.server, await lockServer(name, storeConfig(config, name)))
    }
  } catch (error) {
    release()
    throw error
  }
  return { release, requireHeld: () => servers.forEach((lock) => lock.requireHeld()) }
}

function storeConfig(config: Config, name: string): Config['stores'][string] {
  const store = config.stores[name]
  if (store === undefined) throw new KvxError('STORE_UNKNOWN', `${config.path} names no store ${name}`)
  return store
}
