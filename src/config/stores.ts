import { z } from 'zod'
import { describeSource, knownText, locateSource, secretSource, type SecretSource } from './secret-source.ts'
import { mysqlDefaults, postgresDefaults, serverPlace } from './server-place.ts'
import { locateS3, s3Place, s3Store as s3Members } from './s3-store.ts'
import { duration } from './values.ts'

/** What `stores:` of `kvx.yaml` may say: a driver each, told apart by the member that says where it lies. */

/** How long backups of the application are kept: so long values under an old key may come back. */
const retention = { 'backup-retention': duration.optional() }

const sqliteStore = z.strictObject({ sqlite: z.string().min(1), ...retention })

/** A page of a storage engine is far smaller. */
const maxRecordBytes = 16 * 1_048_576

const directoryStore = z
  .strictObject({
    directory: z.string().min(1),
    /** Files below it that are the store's: `*` and `?` inside a name, `**` for any number of directories. */
    match: z.string().min(1),
    /** One value a file, one document of JSON a file, one a line, or records of one size. */
    format: z.enum(['file', 'json', 'jsonl', 'records']).default('file'),
    /** Of `records`: bytes of each, e.g. 8220 for a sealed page of 8192. */
    'record-size': z.int().min(1).max(maxRecordBytes).optional(),
    /** Of `records`: bytes before the first one, which stay as they are. */
    'header-size': z.int().min(0).max(maxRecordBytes).optional(),
    /** The application goes on during a run and replaces files by rename. Without it, it is stopped. */
    online: z.literal('exchange').optional(),
    ...retention,
  })
  .refine(
    (store) => (store.format === 'records') === (store['record-size'] !== undefined),
    '`format: records` and `record-size` belong together',
  )
  .refine(
    (store) => store.format === 'records' || store['header-size'] === undefined,
    '`header-size` is for `format: records`',
  )

const postgresStore = z.strictObject({
  /** The URL of the database. */
  postgres: secretSource,
  /** Where a table that is written without one lies; the search path of the role unless told. */
  schema: z.string().min(1).optional(),
  /** How long one statement may take; what role and server say unless told. */
  'statement-timeout': duration.optional(),
  ...retention,
})

const mysqlStore = z.strictObject({
  /** The URL of the database: MySQL or MariaDB. */
  mysql: secretSource,
  'statement-timeout': duration.optional(),
  ...retention,
})

const s3Store = s3Members.extend(retention)

const schemas = [sqliteStore, directoryStore, s3Store, postgresStore, mysqlStore] as const

export const storeSchema = z.union(schemas)

/** Every member that a store may have, for the nearest name of a misspelt one. */
export const storeMembers: readonly string[] = [
  ...new Set(schemas.flatMap((schema) => Object.keys(schema.shape))),
]

type WrittenStore = z.output<typeof storeSchema>

/** A store as the configuration says it, with absolute paths and the name of its driver. */
export type StoreConfig =
  | (z.output<typeof sqliteStore> & { readonly driver: 'sqlite' })
  | (z.output<typeof directoryStore> & { readonly driver: 'directory' })
  | (z.output<typeof s3Store> & { readonly driver: 's3' })
  | (z.output<typeof postgresStore> & { readonly driver: 'postgres' })
  | (z.output<typeof mysqlStore> & { readonly driver: 'mysql' })

/** A store that lies in a database server. */
export type ServerStoreConfig = Extract<StoreConfig, { readonly driver: 'postgres' | 'mysql' }>

/** Where the address of a server comes from. */
export function addressSource(store: ServerStoreConfig): SecretSource {
  return store.driver === 'postgres' ? store.postgres : store.mysql
}

export function locateStore(store: WrittenStore, absolute: (path: string) => string): StoreConfig {
  if ('sqlite' in store) return { driver: 'sqlite', ...store, sqlite: absolute(store.sqlite) }
  if ('directory' in store) return { driver: 'directory', ...store, directory: absolute(store.directory) }
  if ('s3' in store) return { driver: 's3', ...store, s3: locateS3(store.s3, absolute) }
  if ('mysql' in store) return { driver: 'mysql', ...store, mysql: locateSource(store.mysql, absolute) }
  return { driver: 'postgres', ...store, postgres: locateSource(store.postgres, absolute) }
}

/** Where a store lies, the same text for the same place and without a secret: a path, a server and its database. */
export function storePlace(store: StoreConfig): string {
  if (store.driver === 'sqlite') return store.sqlite
  if (store.driver === 'directory') return store.directory
  if (store.driver === 's3') return s3Place(store.s3)
  const schema =
    store.driver === 'mysql' || store.schema === undefined
      ? ''
      : `?schema=${encodeURIComponent(store.schema)}`
  return `${serverPlaceOf(store)}${schema}`
}

/** Where the database lies. An address that only opening the store would tell is named by where it comes from. */
export function serverPlaceOf(store: ServerStoreConfig): string {
  const source = addressSource(store)
  const known = knownText(source)
  const defaults = store.driver === 'postgres' ? postgresDefaults() : mysqlDefaults
  return `${store.driver}://${known === undefined ? describeSource(source) : serverPlace(known, defaults)}`
}

/** What else of a store decides which records it has and how they are read: part of a plan's digest. */
export function storeTerms(store: StoreConfig): Readonly<Record<string, unknown>> {
  if (store.driver === 'sqlite') return { sqlite: store.sqlite }
  if (store.driver === 'postgres' || store.driver === 'mysql') return { [store.driver]: storePlace(store) }
  if (store.driver === 's3') return { s3: storePlace(store), match: store.match, format: store.format }
  const { directory, match, format } = store
  const sizes =
    format === 'records' ? { recordSize: store['record-size'], headerSize: store['header-size'] ?? 0 } : {}
  return { directory, match, format, ...sizes }
}
