import type { StoreConfig } from '../../config/stores.ts'
import type { CatalogueTable } from '../../stores/store.ts'
import type { Inner } from './inner-key.ts'
import type { Guess } from './trial.ts'

/** What one envelope of kvx.yaml shall say. */
export type Proposal = {
  readonly name: string
  readonly store: string
  readonly config: StoreConfig
  readonly table: CatalogueTable
  readonly key: string
  /** Whether values that are not sealed lie among the sealed ones. */
  readonly plaintext: boolean
  readonly dek: { readonly guess: Guess; readonly inner: Inner } | undefined
  readonly values: readonly Guess[]
}

/** Lines for kvx.yaml below `envelopes:`. Every text is quoted as JSON does it, which YAML reads the same. */
export function declarationOf(proposal: Proposal): string {
  const { name, store, config, table, key, plaintext, dek, values } = proposal
  const [only] = values
  const value =
    values.length === 1 && only !== undefined
      ? [`value: ${sealedText(only)}`]
      : ['value:', ...values.map((guess) => `  - ${sealedText(guess)}`)]
  const encoding = dek === undefined || dek.inner === 'raw' ? [] : [`encoding: ${dek.inner}`]
  const lines = [
    `store: ${text(store)}`,
    ...placeLines(config, table),
    `key: ${text(key)}`,
    ...(plaintext ? ['plaintext: true'] : []),
    ...(dek === undefined ? [] : [`dek: ${sealedText(dek.guess, encoding)}`]),
    ...value,
  ]
  return [`  ${text(name)}:`, ...lines.map((line) => `    ${line}`), ''].join('\n')
}

/** A directory's table follows from its store, and its id too unless members name the lines. */
function placeLines(config: StoreConfig, { table, id = [] }: CatalogueTable): readonly string[] {
  const named = id.length === 1 ? text(id[0] ?? '') : `[${id.map(text).join(', ')}]`
  if (config.driver !== 'directory' && config.driver !== 's3')
    return [`table: ${text(table)}`, `id: ${named}`]
  return config.format === 'jsonl' ? [`id: ${named}`] : []
}

/** `{ column: "value", aead: aes-256-gcm, layout: "…" }` */
export function sealedText({ form, aead, aad }: Guess, more: readonly string[] = []): string {
  const [only] = form.columns
  const where =
    form.columns.length === 1 && only !== undefined
      ? [`column: ${text(only.column)}`, `layout: ${JSON.stringify(only.layout)}`]
      : [
          `layout: { ${form.columns.map(({ column, layout }) => `${text(column)}: ${JSON.stringify(layout)}`).join(', ')} }`,
        ]
  const bound = aad === undefined ? [] : [`aad: ${JSON.stringify(aad)}`]
  return `{ ${[...where, `aead: ${aead.name}`, ...bound, ...more].join(', ')} }`
}

/** Plain where it can't be anything but a text. */
function text(name: string): string {
  const isWord = /^[a-z][\w.-]*$/i.test(name) && !/^(y|n|yes|no|on|off|true|false|null)$/i.test(name)
  return isWord ? name : JSON.stringify(name)
}

/** A name for an envelope that none has yet. */
export function envelopeName(parts: readonly string[], taken: ReadonlySet<string>): string {
  const plain = parts
    .map((part) => part.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-+|-+$/g, ''))
    .filter((part) => part !== '')
    .join('.')
  const base = (/^[A-Za-z0-9]/.test(plain) ? plain : `found.${plain}`).slice(0, 60)
  if (!taken.has(base)) return base
  for (let number = 2; ; number++) if (!taken.has(`${base}-${number}`)) return `${base}-${number}`
}
