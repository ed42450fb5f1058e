import { dirname } from 'node:path'
import type { Store } from './store.ts'

/** What the configuration says of a store. */
export type StoreConfig = { readonly sqlite: string }

/** @throws FILE_NOT_FOUND, STORE_SHAPE, LOCKED, STORE_UNAVAILABLE */
export async function openStore(name: string, config: StoreConfig): Promise<Store> {
  const { openSqliteStore } = await import('./sqlite/sqlite-store.ts')
  return openSqliteStore({ name, path: config.sqlite })
}

/** The directory whose lock keeps two runs away from one store. */
export function lockDirectoryOf(config: StoreConfig): string {
  return dirname(config.sqlite)
}
