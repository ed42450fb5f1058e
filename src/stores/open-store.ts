import { dirname } from 'node:path'
import { addressSource, type ServerStoreConfig, serverPlaceOf, type StoreConfig } from '../config/stores.ts'
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
  if (config.driver === 'postgres' || config.driver === 'mysql') return await openServer(name, config, lock)
  if (config.driver === 'sqlite') {
    const { openSqliteStore } = await import('./sqlite/sqlite-store.ts')
    return openSqliteStore({ name, path: config.sqlite })
  }
  if (config.driver === 's3') return await openS3(name, config)
  const { openDirectoryStore } = await import('./directory/directory-store.ts')
  const { directory, match, format, online } = config
  const recordSize = config['record-size']
  const sizes = recordSize === undefined ? undefined : { recordSize, headerSize: config['header-size'] ?? 0 }
  return openDirectoryStore({ name, path: directory, match, format, sizes, online })
}

async function openServer(
  name: string,
  config: ServerStoreConfig,
  lock: Pick<ServerLock, 'requireHeld'> | undefined,
): Promise<Store> {
  const url = await addressOf(name, config)
  const timeout = config['statement-timeout']
  const options = {
    name,
    url,
    statementMs: timeout === undefined ? undefined : parseDuration(timeout),
    ...(lock === undefined ? {} : { forWriting: true, requireLock: () => lock.requireHeld() }),
  }
  if (config.driver === 'mysql') {
    const { openMysqlStore } = await import('./mysql/mysql-store.ts')
    return await openMysqlStore(options)
  }
  const { openPostgresStore } = await import('./postgres/postgres-store.ts')
  return await openPostgresStore({ ...options, schema: config.schema })
}

async function openS3(name: string, config: StoreConfig & { driver: 's3' }): Promise<Store> {
  const { endpoint, bucket, prefix, region } = config.s3
  const secret = async (member: 'access-key-id' | 'secret-access-key'): Promise<string> =>
    resolveSecret(config.s3[member], `stores.${name}.s3.${member}`)
  const accessKeyId = await secret('access-key-id')
  const secretAccessKey = await secret('secret-access-key')
  const { openS3Store } = await import('./s3/s3-store.ts')
  const { match, format } = config
  const keys = { accessKeyId, secretAccessKey }
  return await openS3Store({ name, endpoint, bucket, prefix, region, ...keys, match, format })
}

const schemes = {
  postgres: { begins: /^postgres(ql)?:\/\//, socket: 'postgres://USER@/DATABASE?host=/run/postgresql' },
  mysql: {
    begins: /^(mysql|mariadb):\/\//,
    socket: 'mysql://USER@localhost/DATABASE?socketPath=/run/mysqld/mysqld.sock',
  },
}

/** The address with its credentials. */
async function addressOf(name: string, config: ServerStoreConfig): Promise<string> {
  const { driver } = config
  const what = `stores.${name}.${driver}`
  const url = await resolveSecret(addressSource(config), what)
  const usable = driver === 'postgres' || URL.canParse(url)
  if (schemes[driver].begins.test(url) && usable) return url
  throw new KvxError('CONFIG_INVALID', `${what}: what it leads to is no URL that begins with ${driver}://`, {
    hint: `Write it as \`${driver}://USER:PASSWORD@HOST/DATABASE\`, with %40 for @ in a password; for a socket \`${schemes[driver].socket}\`.`,
  })
}

/** Where the lock lies that keeps two runs away from one store. */
export type LockPlace =
  | { readonly directory: string }
  | { readonly server: string }
  /** Each write is conditional by itself, and nothing in a bucket ends with the process that made it. */
  | { readonly none: true }

export function lockPlaceOf(config: StoreConfig): LockPlace {
  if (config.driver === 'directory') return { directory: config.directory }
  if (config.driver === 'sqlite') return { directory: dirname(config.sqlite) }
  if (config.driver === 's3') return { none: true }
  return { server: serverPlaceOf(config) }
}

/** Locks the database of a store against other runs, of any host. @throws LOCKED, STORE_UNAVAILABLE */
export async function lockServer(name: string, config: StoreConfig): Promise<ServerLock> {
  if (config.driver !== 'postgres' && config.driver !== 'mysql')
    throw new TypeError('only a server has a lock of its own')
  const url = await addressOf(name, config)
  if (config.driver === 'mysql') {
    const { lockMysql } = await import('./mysql/lock.ts')
    return await lockMysql(name, url)
  }
  const { lockPostgres } = await import('./postgres/lock.ts')
  return await lockPostgres(name, url)
}
