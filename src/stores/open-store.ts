import { dirname } from 'node:path'
import type { StoreConfig } from '../config/stores.ts'
import type { Store } from './store.ts'

/** @throws FILE_NOT_FOUND, STORE_SHAPE, LOCKED, STORE_UNAVAILABLE */
export async function openStore(name: string, config: StoreConfig): Promise<Store> {
  if (config.driver === 'sqlite') {
    const { openSqliteStore } = await import('./sqlite/sqlite-store.ts')
    return openSqliteStore({ name, path: config.sqlite })
  }
  const { openDirectoryStore } = await import('./directory/directory-store.ts')
  const { directory, match, format, online } = config
  return openDirectoryStore({ name, path: directory, match, format, online })
}

/** The directory whose lock keeps two runs away from one store. */
export function lockDirectoryOf(config: StoreConfig): string {
  return config.driver === 'directory' ? config.directory : dirname(config.sqlite)
}
