import { z } from 'zod'
import { duration } from './values.ts'

/** What `stores:` of `kvx.yaml` may say: a driver each, told apart by the member that says where it lies. */

/** How long backups of the application are kept: so long values under an old key may come back. */
const retention = { 'backup-retention': duration.optional() }

const sqliteStore = z.strictObject({ sqlite: z.string().min(1), ...retention })

const directoryStore = z.strictObject({
  directory: z.string().min(1),
  /** Files below it that are the store's: `*` and `?` inside a name, `**` for any number of directories. */
  match: z.string().min(1),
  /** One value a file, one document of JSON a file, or one a line. */
  format: z.enum(['file', 'json', 'jsonl']).default('file'),
  /** The application goes on during a run and replaces files by rename. Without it, it is stopped. */
  online: z.literal('exchange').optional(),
  ...retention,
})

export const storeSchema = z.union([sqliteStore, directoryStore])

/** Every member that a store may have, for the nearest name of a misspelt one. */
export const storeMembers: readonly string[] = [
  ...new Set([sqliteStore, directoryStore].flatMap((schema) => Object.keys(schema.shape))),
]

type WrittenStore = z.output<typeof storeSchema>

/** A store as the configuration says it, with absolute paths and the name of its driver. */
export type StoreConfig =
  | (z.output<typeof sqliteStore> & { readonly driver: 'sqlite' })
  | (z.output<typeof directoryStore> & { readonly driver: 'directory' })

export function locateStore(store: WrittenStore, absolute: (path: string) => string): StoreConfig {
  if ('sqlite' in store) return { driver: 'sqlite', ...store, sqlite: absolute(store.sqlite) }
  return { driver: 'directory', ...store, directory: absolute(store.directory) }
}

/** Where a store lies, the same text for the same place and without a secret: a path, a server and its database. */
export function storePlace(store: StoreConfig): string {
  return store.driver === 'sqlite' ? store.sqlite : store.directory
}

/** What else of a store decides which records it has and how they are read: part of a plan's digest. */
export function storeTerms(store: StoreConfig): Readonly<Record<string, unknown>> {
  if (store.driver === 'sqlite') return { sqlite: store.sqlite }
  const { directory, match, format } = store
  return { directory, match, format }
}
