import type { Config } from '../config/config.ts'
import { KvxError } from '../core/errors.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { readKeyring } from '../keyring/keyring.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { acquireLocks, type Lock } from '../platform/lock.ts'
import { lockDirectoryOf, openStore } from '../stores/open-store.ts'
import type { Store } from '../stores/store.ts'
import { compileEnvelopes, type Envelope } from './envelope.ts'
import { KeyBook } from './key-book.ts'

/** Envelopes with their stores and keys, open for one command. Close it: it holds locks and key material. */
export type Session = {
  readonly workspace: Workspace
  readonly ring: Keyring
  readonly envelopes: readonly Envelope[]
  store(envelope: Envelope): Store
  book(envelope: Envelope): KeyBook
  close(): Promise<void>
}

export type SessionOptions = {
  /** Names of envelopes; all of them when empty. */
  readonly names?: readonly string[]
  /** Only envelopes under this key. */
  readonly key?: string
  /** Takes the lock of every store, so that no second run works on it. A look alone needs none. */
  readonly exclusive: boolean
}

/**
 * Opens what the configured envelopes need.
 * @throws ENVELOPE_UNKNOWN, KEY_UNKNOWN, LOCKED, STORE_SHAPE and what stores and key files throw
 */
export async function openSession(workspace: Workspace, options: SessionOptions): Promise<Session> {
  const envelopes = compileEnvelopes(workspace.config, options.names).filter(
    ({ key }) => options.key === undefined || key === options.key,
  )
  const ring = await readKeyring(workspace.home)
  const stores = new Map<string, Store>()
  const books = new Map<string, KeyBook>()
  let lock: Lock | undefined
  const close = async (): Promise<void> => {
    for (const book of books.values()) book.wipe()
    for (const store of stores.values()) await store.close()
    lock?.release()
  }
  try {
    if (options.exclusive) lock = await lockStores(workspace.config, envelopes)
    for (const { store, key } of envelopes) {
      if (!stores.has(store)) stores.set(store, await openStore(store, storeConfig(workspace.config, store)))
      if (!books.has(key)) books.set(key, await KeyBook.load(workspace.home, ring, key))
    }
  } catch (error) {
    await close()
    throw error
  }
  return {
    workspace,
    ring,
    envelopes,
    store: ({ store }) => present(stores.get(store)),
    book: ({ key }) => present(books.get(key)),
    close,
  }
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('the session was opened without it')
  return value
}

async function lockStores(config: Config, envelopes: readonly Envelope[]): Promise<Lock> {
  const directories = envelopes.map(({ store }) => lockDirectoryOf(storeConfig(config, store)))
  return acquireLocks(directories, 'the store')
}

function storeConfig(config: Config, name: string): Config['stores'][string] {
  const store = config.stores[name]
  if (store === undefined) throw new KvxError('STORE_UNKNOWN', `${config.path} names no store ${name}`)
  return store
}
