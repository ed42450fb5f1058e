import { nextLimit } from '../server-pages.ts'
import { requireInsertable, takenByAnother } from '../server-refusals.ts'
import type { RecordId, RecordSet, StoredRecord } from '../store.ts'
import { chunksOf, encodeId, joinsId, sizeOfCell, sourceOf } from './batch.ts'
import type { Connection } from './connection.ts'
import { encodeChange, quoted, typed } from './columns.ts'
import { cellsOf } from './scan.ts'
import { selectWritten, unfit } from './swap.ts'
import { columnOf, type Table } from './table.ts'

type Whole = { readonly table: Table; readonly set: RecordSet }

/** So many whole records in the first answer of the server; then as many as are likely to have this size. */
const firstRows = 100
const answerBytes = 16 * 1_048_576
const mostRows = 2000

/** Whole records, generated columns left out, in the order of their ids. Missing ones are left out. */
export async function fetchRecords(
  connection: Connection,
  { table, set }: Whole,
  ids: readonly RecordId[],
): Promise<readonly StoredRecord[]> {
  const names = [...table.columns.values()].filter(({ generated }) => !generated).map(({ name }) => name)
  const list = names.map((name) => `t.${quoted(name)}`).join(', ')
  const found = new Map<number, StoredRecord>()
  const known = ids.flatMap((id, at) => {
    const texts = encodeId(table, set, id)
    return texts === undefined ? [] : [{ at, id, texts }]
  })
  let limit = firstRows
  for (let from = 0, part = known.slice(0, limit); part.length > 0; part = known.slice(from, from + limit)) {
    const source = sourceOf(
      set.id.length,
      part.map(({ texts }) => texts),
    )
    const rows = await connection.rows(
      `SELECT u.n, ${list} FROM ${table.sql} AS t JOIN ${source.sql} ON ${joinsId(table, set)}`,
      source.values,
    )
    for (const [n, ...row] of rows) {
      const one = part[Number(n) - 1]
      if (one !== undefined) found.set(one.at, { id: one.id, cells: cellsOf(table, names, row) })
    }
    from += part.length
    limit = nextLimit(rows, mostRows, answerBytes)
  }
  return [...found].sort(([a], [b]) => a - b).map(([, record]) => record)
}

/** The `insertMissing` of the store contract, inside a transaction that is open. */
export async function insertRecords(
  connection: Connection,
  { table, set }: Whole,
  records: readonly StoredRecord[],
): Promise<readonly ('inserted' | 'present')[]> {
  const outcomes: ('inserted' | 'present')[] = []
  for (const chunk of chunksOf(records, sizeOfRecord)) {
    const present = await placesOf(connection, { table, set }, chunk)
    const missing = chunk.filter((_, at) => !present.has(at))
    const inserted = await insertChunk(connection, { table, set }, missing)
    outcomes.push(...chunk.map((record) => (inserted.has(record) ? 'inserted' : 'present')))
  }
  return outcomes
}

function sizeOfRecord({ cells }: StoredRecord): number {
  return Object.values(cells).reduce((sum: number, cell) => sum + sizeOfCell(cell), 0)
}

async function placesOf(
  connection: Connection,
  { table, set }: Whole,
  records: readonly StoredRecord[],
): Promise<ReadonlySet<number>> {
  const ids = records.map(({ id }) => {
    const texts = encodeId(table, set, id)
    if (texts === undefined) throw unfit(connection.target, set.id.join(', '))
    return texts
  })
  if (ids.length === 0) return new Set()
  const source = sourceOf(set.id.length, ids)
  const rows = await connection.rows(
    `SELECT u.n FROM ${table.sql} AS t JOIN ${source.sql} ON ${joinsId(table, set)}`,
    source.values,
  )
  return new Set(rows.map(([n]) => Number(n) - 1))
}

/** Inserts records over the same columns at once. @returns those that no other writer was faster with */
async function insertChunk(
  connection: Connection,
  { table, set }: Whole,
  records: readonly StoredRecord[],
): Promise<ReadonlySet<StoredRecord>> {
  const inserted = new Set<StoredRecord>()
  for (const group of Map.groupBy(records, ({ cells }) => JSON.stringify(Object.keys(cells))).values()) {
    const written = await insertGroup(connection, { table, set }, group)
    const now = await placesOf(connection, { table, set }, group)
    group.forEach((record, at) => {
      if (!now.has(at)) throw takenByAnother(connection.target, set)
      if (written.has(JSON.stringify(encodeId(table, set, record.id)))) inserted.add(record)
    })
  }
  const list = [...inserted]
  await selectWritten(connection, { table, set, columns: [], records: list })
  return inserted
}

async function insertGroup(
  connection: Connection,
  { table, set }: Whole,
  group: readonly StoredRecord[],
): Promise<ReadonlySet<string>> {
  const names = Object.keys(group[0]?.cells ?? {})
  requireInsertable(connection.target, set, { columns: table.columns, names })
  const source = sourceOf(
    names.length,
    group.map(({ cells }) =>
      names.map((name) => {
        const text = encodeChange(columnOf(table, name).kind, cells[name] ?? null)
        if (text === undefined) throw unfit(connection.target, name)
        return text
      }),
    ),
  )
  const values = names.map((name, index) => typed(columnOf(table, name), `u.c${index}`))
  // The ids come back as the server prints them, which is how they were fetched.
  const rows = await connection.rows(
    `INSERT INTO ${table.sql} (${names.map(quoted).join(', ')}) OVERRIDING SYSTEM VALUE
      SELECT ${values.join(', ')} FROM ${source.sql} ON CONFLICT DO NOTHING
      RETURNING ${set.id.map(quoted).join(', ')}`,
    source.values,
  )
  return new Set(rows.map((row) => JSON.stringify(row)))
}
