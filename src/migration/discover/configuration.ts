import type { Find } from './find.ts'
import type { FileKey } from './key-files.ts'

/** A whole `kvx.yaml` for a store that no configuration names yet: keys, the store, and an envelope for each find. */
export function configurationOf(
  store: { readonly name: string; readonly written: Readonly<Record<string, unknown>> },
  keys: readonly FileKey[],
  finds: readonly Find[],
): string | undefined {
  const declarations = finds.flatMap(({ declaration }) => declaration ?? [])
  if (declarations.length === 0) return undefined
  const wrapping = new Set(
    finds.filter(({ level }) => level === 'wrapped-key').flatMap(({ opens }) => Object.keys(opens)),
  )
  return [
    'kvx: 1',
    'keys:',
    ...keys.flatMap(({ name, version, file, encoding }) => [
      `  ${name}:`,
      `    purpose: ${wrapping.has(`${name}@${version}`) ? 'kek' : 'data'}`,
      `    publish: [{ file: ${JSON.stringify(file)}, encoding: ${encoding} }]`,
    ]),
    'stores:',
    // JSON is YAML.
    `  ${store.name}: ${JSON.stringify(store.written)}`,
    'envelopes:',
    declarations.join(''),
  ].join('\n')
}
