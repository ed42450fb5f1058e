import { resolve } from 'node:path'
import { locateStore, storeSchema, type StoreConfig } from '../../config/stores.ts'
import { KvxError } from '../../core/errors.ts'

/** Ways to name a store where no configuration does. */
export const storeUrlForms = ['sqlite:PATH', 'directory:PATH?match=PATTERN&format=json'] as const

/** Whether an argument is the place of a store, and not a name of the configuration. */
export function isStoreUrl(text: string): boolean {
  return /^[a-z][a-z0-9+]*:/i.test(text)
}

/**
 * A store as `kvx.yaml` would have it. Members that are not in the path are parameters: `match`, `format`,
 * `record-size`.
 * @throws USAGE; the text is not repeated, since a URL of a server can hold a password
 */
export function storeOfUrl(text: string): {
  readonly written: Record<string, unknown>
  readonly config: StoreConfig
} {
  const [, scheme = '', rest = ''] = /^([a-z][a-z0-9+]*):(.*)$/is.exec(text) ?? []
  const [path = '', query = ''] = rest.split('?', 2)
  const parameters = Object.fromEntries(
    [...new URLSearchParams(query)].map(([name, value]) => [
      name,
      /^\d+$/.test(value) ? Number(value) : value,
    ]),
  )
  const written = writtenStore(scheme.toLowerCase(), path, parameters)
  const parsed = storeSchema.safeParse(written)
  if (written !== undefined && parsed.success) {
    return { written, config: locateStore(parsed.data, (name) => resolve(name)) }
  }
  throw new KvxError('USAGE', 'the store is not named in a way that kvx knows', {
    hint: `Write ${storeUrlForms.join(' or ')}; a database server is declared under \`stores:\` of kvx.yaml, where its password is not in the arguments.`,
  })
}

function writtenStore(
  scheme: string,
  path: string,
  parameters: Record<string, unknown>,
): Record<string, unknown> | undefined {
  if (path === '') return undefined
  if (scheme === 'sqlite') return { sqlite: resolve(path), ...parameters }
  if (scheme === 'directory') return { directory: resolve(path), match: '**', ...parameters }
  return undefined
}
