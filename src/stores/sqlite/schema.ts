import type { Cell, RecordSet } from '../store.ts'
import type { Database } from './database.ts'
import { shapeError, shellWord } from './sqlite-errors.ts'

/** A column of the order in which records are read, and the collation that compares it. */
export type OrderColumn = { readonly name: string; readonly collation: string }

export type Table = {
  readonly name: string
  /** Columns that can be written, in the order of the table. */
  readonly columns: readonly string[]
  readonly generated: ReadonlySet<string>
  readonly triggers: readonly string[]
  /** The CREATE TABLE has ON CONFLICT rules of its own: they could delete another record on a write. */
  readonly hasConflictRule: boolean
  /** A total order over the records: columns of the id, from an index that proves them unique where there is one. */
  readonly order: readonly OrderColumn[]
  /** A unique index over (some of) the id columns exists, so only NULL could make an id ambiguous. */
  readonly proven: boolean
  /** The id is the INTEGER PRIMARY KEY: never text. */
  readonly integerKey: boolean
}

/** An identifier in double quotes, https://sqlite.org/lang_keywords.html. */
export function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

/** A name of the schema in a message: control characters are escaped. */
export function shown(name: string): string {
  return JSON.stringify(name)
}

/** The number of a row in a table whose rows nothing else tells apart. */
export const rowid = 'rowid'

/**
 * Looks the table up and checks that it is an ordinary table with all columns of the record set. Names are
 * compared exactly, letter case included.
 * @param use a look may name rows by their `rowid`; a write may not, since VACUUM gives them new ones
 * @throws STORE_SHAPE
 */
export function readTable(database: Database, set: RecordSet, use: 'look' | 'work' = 'work'): Table {
  // SQLite counts every change of the schema: nothing else makes a table another one.
  const version = database.rows('PRAGMA main.schema_version')[0]?.[0] ?? null
  let known = tables.get(database)
  if (known?.version !== version) tables.set(database, (known = { version, read: new Map() }))
  const key = JSON.stringify([use, set.table, set.id, set.columns])
  const table = known.read.get(key) ?? lookUp(database, set, use)
  known.read.set(key, table)
  return table
}

const tables = new WeakMap<Database, { readonly version: Cell; readonly read: Map<string, Table> }>()

function lookUp(database: Database, set: RecordSet, use: 'look' | 'work'): Table {
  const name = set.table
  const create = readCreateStatement(database, name)
  const columns = database.rows("SELECT name, hidden, pk, type FROM pragma_table_xinfo(?, 'main')", [name])
  const generated = new Set(columns.filter(([, hidden]) => hidden !== 0n).map(([column]) => String(column)))
  const all = columns.map(([column]) => String(column))
  const isByRowid = use === 'look' && set.id.includes(rowid) && !all.includes(rowid)
  requireColumns(database, set, isByRowid ? [...all, rowid] : all)
  const indexes = readUniqueIndexes(database, name)
  const rowidAlias = isByRowid ? { name: rowid, collation: 'BINARY' } : findRowidAlias(columns, indexes)
  const proofs = [
    ...(rowidAlias === undefined ? [] : [[rowidAlias]]),
    ...indexes.map((index) => index.columns),
  ]
  const usable = proofs.filter((proof) => proof.every((column) => set.id.includes(column.name)))
  const proof = usable.sort((one, other) => one.length - other.length)[0]
  const triggers = database.rows(
    "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE ORDER BY name",
    [name],
  )
  return {
    name,
    columns: all.filter((column) => !generated.has(column)),
    generated,
    triggers: triggers.map(([trigger]) => String(trigger)),
    hasConflictRule: /\bON\s+CONFLICT\b/i.test(create),
    order: proof ?? set.id.map((column) => ({ name: column, collation: 'BINARY' })),
    proven: proof !== undefined,
    integerKey: set.id.length === 1 && rowidAlias?.name === set.id[0],
  }
}

/** The table's CREATE statement, which exists for what is a table and nothing else. */
function readCreateStatement(database: Database, name: string): string {
  const [found] = database.rows(
    "SELECT l.type, s.sql FROM pragma_table_list AS l JOIN main.sqlite_schema AS s ON s.name = l.name AND s.type IN ('table', 'view') WHERE l.schema = 'main' AND l.name = ?",
    [name],
  )
  if (found === undefined) {
    const tables = database.rows(
      "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
    throw missing(database, `there is no table ${shown(name)}`, {
      name,
      among: tables.map(([table]) => String(table)),
    })
  }
  const [type, sql] = found
  if (type !== 'table' || name.toLowerCase().startsWith('sqlite_')) {
    const kind =
      type === 'table' ? 'a table of SQLite itself' : `a ${String(type)}${type === 'view' ? '' : ' table'}`
    throw shapeError(
      database.target,
      `${shown(name)} is ${kind}: records can be changed in ordinary tables only`,
    )
  }
  return String(sql)
}

function requireColumns(database: Database, set: RecordSet, present: readonly string[]): void {
  if (set.id.length === 0)
    throw shapeError(database.target, `no id columns are declared for ${shown(set.table)}`)
  for (const name of [...set.id, ...set.columns]) {
    if (present.includes(name)) continue
    throw missing(database, `table ${shown(set.table)} has no column ${shown(name)}`, {
      name,
      among: present,
    })
  }
}

type Search = { readonly name: string; readonly among: readonly string[] }

function missing(database: Database, what: string, search: Search) {
  const nearest = nearestName(search.name, search.among)
  const schema = `look at the schema with \`sqlite3 ${shellWord(database.target.path)} .schema\``
  return shapeError(database.target, what, {
    hint: nearest === undefined ? schema : `did you mean ${shown(nearest)}? ${schema}`,
    details: nearest === undefined ? {} : { nearest },
  })
}

/** The name with the fewest edits, when fewer than half of its characters change. */
export function nearestName(name: string, among: readonly string[]): string | undefined {
  let best: { readonly name: string; readonly edits: number } | undefined
  for (const candidate of among) {
    const edits = countEdits(name.toLowerCase(), candidate.toLowerCase())
    const close = edits * 2 < Math.max(name.length, candidate.length)
    if (close && (best === undefined || edits < best.edits)) best = { name: candidate, edits }
  }
  return best?.name
}

/** Levenshtein distance. */
function countEdits(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [row, letter] of from.split('').entries()) {
    const current = [row + 1]
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = (previous[column - 1] ?? 0) + (letter === to[column - 1] ? 0 : 1)
      current.push(Math.min(replaced, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    previous = current
  }
  return previous[to.length] ?? 0
}

type UniqueIndex = { readonly origin: string; readonly columns: readonly OrderColumn[] }

/**
 * Unique indexes over plain columns of all rows. Two values that differ in no byte are equal under every
 * collation, so uniqueness under the index's collation proves uniqueness of the bytes; a collation that the
 * application defined can't be called from here, so its indexes are left out.
 */
export function readUniqueIndexes(database: Database, table: string): readonly UniqueIndex[] {
  const rows = database.rows(
    `SELECT i.name, i.origin, x.name, upper(x.coll)
     FROM pragma_index_list(?, 'main') AS i JOIN pragma_index_xinfo(i.name, 'main') AS x
     WHERE i."unique" AND NOT i.partial AND x.key ORDER BY i.name, x.seqno`,
    [table],
  )
  const indexes = new Map<string, { origin: string; columns: OrderColumn[]; usable: boolean }>()
  for (const [indexName, origin, column, collation] of rows) {
    const key = String(indexName)
    const index = indexes.get(key) ?? { origin: String(origin), columns: [], usable: true }
    indexes.set(key, index)
    if (typeof column !== 'string' || !['BINARY', 'NOCASE', 'RTRIM'].includes(String(collation))) {
      index.usable = false
    } else {
      index.columns.push({ name: column, collation: String(collation) })
    }
  }
  return [...indexes.values()].filter((index) => index.usable)
}

/** An INTEGER PRIMARY KEY is the rowid itself and so has no index: https://sqlite.org/rowidtable.html. */
export function findRowidAlias(
  columns: ReturnType<Database['rows']>,
  indexes: readonly UniqueIndex[],
): OrderColumn | undefined {
  const keys = columns.filter(([, , position]) => position !== 0n)
  const [key] = keys
  if (keys.length !== 1 || key === undefined || String(key[3]).toUpperCase() !== 'INTEGER') return undefined
  return indexes.some((index) => index.origin === 'pk')
    ? undefined
    : { name: String(key[0]), collation: 'BINARY' }
}
