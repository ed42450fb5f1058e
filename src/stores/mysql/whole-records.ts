import { isKvxError } from '../../core/errors.ts'
import { requireInsertable, takenByAnother } from '../server-refusals.ts'
import type { RecordId, RecordSet, StoredRecord } from '../store.ts'
import { quoted, selected, written } from './columns.ts'
import type { Connection } from './connection.ts'
import { encodeId, idChunks } from './ids.ts'
import { cellsOf } from './scan.ts'
import { encoded, findRecords, requireWritten } from './swap.ts'
import { columnOf, type Table } from './table.ts'

type Whole = { readonly table: Table; readonly set: RecordSet }

/** Whole records, generated columns left out, in the order of their ids. Missing ones are left out. */
export async function fetchRecords(
  connection: Connection,
  { table, set }: Whole,
  ids: readonly RecordId[],
): Promise<readonly StoredRecord[]> {
  const names = [...table.columns.values()].filter(({ generated }) => !generated).map(({ name }) => name)
  const all = [...set.id, ...names]
  const list = all.map((name) => selected(columnOf(table, name))).join(', ')
  const known = ids.flatMap((id) => {
    const texts = encodeId(table, set, id)
    return texts === undefined ? [] : [{ id, texts }]
  })
  const found = new Map<string, StoredRecord['cells']>()
  for (const { sql, values } of idChunks(table, set, known)) {
    for (const row of await connection.rows(`SELECT ${list} FROM ${table.sql} WHERE ${sql}`, values)) {
      const id = Object.values(cellsOf(table, set.id, row))
      found.set(JSON.stringify(encodeId(table, set, id)), cellsOf(table, names, row.slice(set.id.length)))
    }
  }
  return known.flatMap(({ id, texts }) => {
    const cells = found.get(JSON.stringify(texts))
    return cells === undefined ? [] : [{ id, cells }]
  })
}

/** The `insertMissing` of the store contract, inside a transaction that is open. */
export async function insertRecords(
  connection: Connection,
  { table, set }: Whole,
  records: readonly StoredRecord[],
): Promise<readonly ('inserted' | 'present')[]> {
  const ids = records.map(({ id }) => id)
  const present = await findRecords(connection, { table, set, columns: [], ids })
  const outcomes: ('inserted' | 'present')[] = []
  for (const [index, record] of records.entries()) {
    const isThere = present[index] !== undefined
    outcomes.push(isThere ? 'present' : await insertOne(connection, { table, set }, record))
  }
  return outcomes
}

async function insertOne(
  connection: Connection,
  { table, set }: Whole,
  record: StoredRecord,
): Promise<'inserted' | 'present'> {
  const names = Object.keys(record.cells)
  requireInsertable(connection.target, set, { columns: table.columns, names })
  const columns = names.map((name) => columnOf(table, name))
  const values = columns.map((column) => encoded(connection.target, column, record.cells[column.name]))
  const find = { table, set, columns: names, ids: [record.id] }
  try {
    await connection.run(
      `INSERT INTO ${table.sql} (${names.map(quoted).join(', ')}) VALUES (${columns.map(written).join(', ')})`,
      values,
    )
  } catch (error) {
    if (!isKvxError(error) || error.details['errno'] !== 1062) throw error
    // Another writer was faster, or another record holds a value of it that must be unique.
    if ((await findRecords(connection, find))[0] !== undefined) return 'present'
    throw takenByAnother(connection.target, set)
  }
  const [found] = await findRecords(connection, find)
  requireWritten(connection, { table, set }, { wanted: record.cells, found })
  return 'inserted'
}
