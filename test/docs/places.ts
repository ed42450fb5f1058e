import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Workspace } from '../support/workspace.ts'

/** A folder in memory that nobody else enters. */
export function memoryOf(site: Workspace): string {
  return join('/dev/shm', basename(site.path))
}

/** The folder of a ceremony, as the documents write it. */
export const ceremony = 'ceremony-20270131T090000Z-k3v9x0'

/** The same at a site. */
export function ceremonyOf(site: Workspace): string {
  return readdirSync(site.path).find((name) => name.startsWith('ceremony-')) ?? ''
}
