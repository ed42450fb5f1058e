import { dirname } from 'node:path'
import { type StoreConfig, storePlace } from '../config/stores.ts'
import { parseDuration } from '../core/duration.ts'
import { KvxError } from '../core/errors.ts'
import { resolveSecret } from './connection-secret.ts'
import type { ServerLock } from './server-lock.ts'
import type { Store } from './store.ts'

/**
 * @param lock what keeps other runs away; missing for a look alone
 * @throws FILE_NOT_FOUND, STORE_SHAPE, LOCKED, STORE_UNAVAILABLE
 */
export async function openStore(
  name: string,
  config: StoreConfig,
  lock?: Pick<ServerLock, 'requireHeld'>,
): Promise<Store> {
  if (config.driver === 'postgres') return await openPostgres(name, config, lock)
  if (config.driver === 'sqlite') {
    const { openSqliteStore } = await import('./sqlite/sqlite-store.ts')
    return openSqliteStore({ name, path: config.sqlite })
  }
  const { openDirectoryStore } = await import('./directory/directory-store.ts')
  const { directory, match, format, online } = config
  const recordSize = config['record-size']
  const sizes = recordSize === undefined ? undefined : { recordSize, headerSize: config['header-size'] ?? 0 }
  return openDirectoryStore({ name, path: directory, match, format, sizes, online })
}

async function openPostgres(
  name: string,
  config: StoreConfig & { driver: 'postgres' },
  lock: Pick<ServerLock, 'requireHeld'> | undefined,
): Promise<Store> {
  const url = await addressOf(name, config)
  const { openPostgresStore } = await import('./postgres/postgres-store.ts')
  const timeout = config['statement-timeout']
  return await openPostgresStore({
    name,
    url,
    schema: config.schema,
    statementMs: timeout === undefined ? undefined : parseDuration(timeout),
    ...(lock === undefined ? {} : { forWriting: true, requireLock: () => lock.requireHeld() }),
  })
}

/** The address with its credentials. */
async function addressOf(name: string, config: StoreConfig & { driver: 'postgres' }): Promise<string> {
  const what = `stores.${name}.postgres`
  const url = await resolveSecret(config.postgres, what)
  if (/^postgres(ql)?:\/\//.test(url)) return url
  throw new KvxError('CONFIG_INVALID', `${what}: what it leads to is no URL that begins with postgres://`, {
    hint: 'Write it as `postgres://USER:PASSWORD@HOST:5432/DATABASE`; for a socket `postgres://USER@/DATABASE?host=/run/postgresql`.',
  })
}

/** Where the lock lies that keeps two runs away from one store. */
export type LockPlace = { readonly directory: string } | { readonly server: string }

export function lockPlaceOf(config: StoreConfig): LockPlace {
  if (config.driver === 'directory') return { directory: config.directory }
  if (config.driver === 'sqlite') return { directory: dirname(config.sqlite) }
  return { server: storePlace({ ...config, schema: undefined }) }
}

/** Locks the database of a store against other runs, of any host. @throws LOCKED, STORE_UNAVAILABLE */
export async function lockServer(name: string, config: StoreConfig): Promise<ServerLock> {
  if (config.driver !== 'postgres') throw new TypeError('only a server has a lock of its own')
  const url = await addressOf(name, config)
  const { lockPostgres } = await import('./postgres/lock.ts')
  return await lockPostgres(name, url)
}
