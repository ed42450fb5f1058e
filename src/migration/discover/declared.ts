import type { Config } from '../../config/config.ts'
import { storePlace, type StoreConfig } from '../../config/stores.ts'
import { compileGlob, globProblem, matchesAll } from '../../stores/directory/glob.ts'
import type { RecordId } from '../../stores/store.ts'

/** Columns that an envelope declares, and for which records. */
export type Declared = {
  readonly envelope: string
  readonly place: string
  readonly table: string
  readonly columns: ReadonlySet<string>
  /** Of what lies in one column. */
  readonly layouts: readonly string[]
  /** Whether a record is one of the envelope's: of files, those that its pattern names. */
  covers(idColumns: readonly string[], id: RecordId): boolean
}

/** Every column that an envelope reads or writes as something sealed, or as the label of it. */
export function declaredColumns(config: Config): readonly Declared[] {
  return Object.entries(config.envelopes).flatMap(([envelope, declared]) => {
    const store = config.stores[declared.store]
    if (store === undefined) return []
    const { value = [], dek, kek, version } = declared as Loose
    const values = Array.isArray(value) ? value : [value]
    const own = [...values, ...(kek === undefined ? [] : [kek])].flatMap(columnsOf)
    const label = typeof version === 'string' ? version : version?.column
    const joined = dek?.table !== undefined
    const here = [...own, ...(label === undefined ? [] : [label]), ...(joined ? [] : columnsOf(dek))]
    const layouts = [...values, kek, dek].flatMap((part) =>
      typeof part?.layout === 'string' ? [part.layout] : [],
    )
    const common = { envelope, place: storePlace(store), layouts }
    return [
      { ...common, table: declared.table, columns: folded(here), covers: coverage(store, declared.table) },
      ...(joined
        ? [{ ...common, table: dek.table ?? '', columns: folded(columnsOf(dek)), covers: () => true }]
        : []),
    ]
  })
}

/** The members that name columns, whatever else a declaration says. */
type Part = {
  readonly column?: string | undefined
  readonly layout?: string | Readonly<Record<string, string>> | undefined
  readonly table?: string | undefined
}
type Loose = {
  readonly value?: Part | readonly Part[] | undefined
  readonly dek?: Part | undefined
  readonly kek?: Part | undefined
  readonly version?: string | { readonly column: string } | undefined
}

function columnsOf(part: Part | undefined): readonly string[] {
  if (part === undefined) return []
  const spread = typeof part.layout === 'object' ? Object.keys(part.layout) : []
  return part.column === undefined ? spread : [part.column, ...spread]
}

/**
 * Whether two names mean one table. Servers have schemas: one that is left out may be any, so that a table is rather
 * taken for a declared one of the same name than reported in vain.
 */
export function sameTable(one: string, other: string): boolean {
  const [a, b] = [partsOf(one), partsOf(other)]
  const isSchemaSame = a.schema === undefined || b.schema === undefined || a.schema === b.schema
  return fold(one) === fold(other) || (a.name === b.name && isSchemaSame)
}

function partsOf(table: string): { readonly schema: string | undefined; readonly name: string } {
  const parts = [...table.matchAll(/"((?:[^"]|"")+)"|([^".]+)/g)].map(([, quoted, plain]) =>
    fold(quoted?.replaceAll('""', '"') ?? plain ?? ''),
  )
  return { schema: parts.length > 1 ? parts.at(-2) : undefined, name: parts.at(-1) ?? '' }
}

/** Databases fold the case of names. */
export function fold(name: string): string {
  return name.toLowerCase()
}

function folded(names: readonly string[]): ReadonlySet<string> {
  return new Set(names.map(fold))
}

function coverage(store: StoreConfig, table: string): Declared['covers'] {
  if ((store.driver !== 'directory' && store.driver !== 's3') || globProblem(table) !== undefined)
    return () => true
  const globs = [store.match, table].map(compileGlob)
  return (idColumns, id) => {
    const path = id[idColumns.indexOf('path')]
    return typeof path !== 'string' || matchesAll(globs, path)
  }
}
