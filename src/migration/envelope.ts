import type { Config } from '../config/config.ts'
import type { EnvelopeConfig, SealedConfig } from '../config/envelopes.ts'
import { storePlace, storeTerms, type StoreConfig } from '../config/stores.ts'
import { aeadNamed, type Aead } from '../core/aead/aead.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { compileLayout, type Layout } from '../core/layout/layout.ts'
import { compileTemplate, type Template } from '../core/layout/template.ts'
import type { RecordSet } from '../stores/store.ts'
import { refuseSharedColumns } from './shared-columns.ts'
import type { Place } from './workload.ts'

/** One sealed thing in a record: a wrapped DEK or a value, its bytes in one column or spread over several. */
export type Sealed = {
  readonly columns: readonly { readonly column: string; readonly layout: Layout }[]
  readonly aead: Aead
  readonly aad: Template | undefined
}

/** A compiled declaration: what `kvx.yaml` says of one kind of sealed record. */
export type Envelope = {
  readonly name: string
  readonly store: string
  /** The configured key at the outermost level. */
  readonly key: string
  readonly set: RecordSet
  readonly place: Place
  /** The wrapped DEK; undefined where values lie directly under the key. */
  readonly dek: Sealed | undefined
  readonly values: readonly Sealed[]
  /** The column that carries the key's version number and changes together with the wrap. */
  readonly versionColumn: string | undefined
  /** Whether values that are not sealed may lie among the sealed ones. */
  readonly plaintext: boolean
  /** The declaration as data, the same for the same meaning: part of a plan's digest. */
  readonly normalised: Readonly<Record<string, unknown>>
}

/**
 * The declared envelopes, all or the named ones, in the order of the configuration.
 * @throws LAYOUT_INVALID, CONFIG_INVALID with the place in the file, also when two of them change the same column
 */
export function compileEnvelopes(config: Config, names: readonly string[] = []): readonly Envelope[] {
  const all = Object.keys(config.envelopes).map((name) => compileEnvelope(config, name))
  refuseSharedColumns(config, all)
  return all.filter(({ name }) => names.length === 0 || names.includes(name))
}

function compileEnvelope(config: Config, name: string): Envelope {
  const declared = config.envelopes[name]
  if (declared === undefined) throw new TypeError('the name was checked')
  const values = Array.isArray(declared.value) ? declared.value : [declared.value]
  const sealed = (part: SealedConfig, member: string): Sealed => compileSealed(config, name, part, member)
  const dek = declared.dek && sealed(declared.dek, 'dek')
  const compiled = values.map((value) => sealed(value, 'value'))
  const id = typeof declared.id === 'string' ? [declared.id] : declared.id
  const everything = dek === undefined ? compiled : [dek, ...compiled]
  const underKey = (dek === undefined ? compiled : [dek]).flatMap(({ columns }) => columns)
  return {
    name,
    store: declared.store,
    key: declared.key,
    set: { table: declared.table, id, columns: usedColumns(everything, declared.version, id) },
    place: {
      store: storePlace(storeOf(config, declared)),
      table: declared.table,
      columns: underKey.map(({ column }) => column),
    },
    dek,
    values: compiled,
    versionColumn: declared.version,
    plaintext: declared.plaintext,
    normalised: normalise(declared, config),
  }
}

function storeOf(config: Config, { store }: EnvelopeConfig): StoreConfig {
  const found = config.stores[store]
  if (found === undefined) throw new TypeError('references were checked')
  return found
}

function usedColumns(parts: readonly Sealed[], version: string | undefined, id: readonly string[]): string[] {
  const used = new Set<string>()
  for (const { columns, aad } of parts) {
    for (const { column } of columns) used.add(column)
    for (const column of [...(aad?.columns ?? []), ...(aad?.newColumns ?? [])]) used.add(column)
  }
  if (version !== undefined) used.add(version)
  return [...used].filter((column) => !id.includes(column))
}

function compileSealed(config: Config, name: string, part: SealedConfig, member: string): Sealed {
  const at = ['envelopes', name, member]
  const place = (message: string, hint: string): KvxError =>
    new KvxError('CONFIG_INVALID', `${config.where(at)}: envelopes.${name}.${member}: ${message}`, { hint })
  const aead = located(config, [...at, 'aead'], () => aeadNamed(part.aead))
  const aad =
    part.aad === undefined
      ? undefined
      : located(config, [...at, 'aad'], () => compileTemplate(part.aad as string))
  const columns = layoutsOf(part).map(([column, source]) => {
    if (column === undefined) {
      throw place(
        'no column is named',
        'Say `column: NAME`, or give `layout` as a mapping of columns to layouts.',
      )
    }
    return { column, layout: located(config, [...at, 'layout'], () => compileLayout(source)) }
  })
  const parts = columns.flatMap(({ layout }) => [...layout.partNames])
  for (const needed of ['nonce', 'ct', 'tag']) {
    const times = parts.filter((found) => found === needed).length
    if (times === 1) continue
    throw place(
      `the layout has ${times === 0 ? 'no' : 'more than one'} part ${needed}`,
      'Name where nonce, ct and tag lie, e.g. `nonce:12 ct tag:16`.',
    )
  }
  return { columns, aead, aad }
}

function layoutsOf(part: SealedConfig): readonly (readonly [string | undefined, string])[] {
  return typeof part.layout === 'string' ? [[part.column, part.layout]] : Object.entries(part.layout)
}

/** Puts the place in the file before what the layout's own compiler says. */
function located<T>(config: Config, at: readonly PropertyKey[], compile: () => T): T {
  try {
    return compile()
  } catch (error) {
    if (!isKvxError(error)) throw error
    const options = error.hint === undefined ? {} : { hint: error.hint }
    throw new KvxError(error.code, `${config.where(at)}: ${error.message}`, options)
  }
}

/** Where the data lies and how it is read. Comments, order and spelling of the file do not matter to a run. */
function normalise(declared: EnvelopeConfig, config: Config): Readonly<Record<string, unknown>> {
  return { ...declared, store: { name: declared.store, ...storeTerms(storeOf(config, declared)) } }
}
