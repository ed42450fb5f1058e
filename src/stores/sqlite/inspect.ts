import type { RecordSet, StoreFacts } from '../store.ts'
import type { Database } from './database.ts'
import { quoted, readTable, shown, type Table } from './schema.ts'
import { shapeError } from './sqlite-errors.ts'

/**
 * Checks table, columns and id in one read transaction and counts the records.
 * @throws STORE_SHAPE
 */
export function inspectRecords(database: Database, set: RecordSet): StoreFacts {
  return database.transaction('DEFERRED', () => {
    const table = readTable(database, set)
    const records = countRecords(database, set, table)
    if (!table.proven) requireUnique(database, set)
    return { records, warnings: warningsOf(set, table) }
  })
}

function countRecords(database: Database, set: RecordSet, table: Table): bigint {
  const isNull = set.id.map((column) => `${quoted(column)} IS NULL`).join(' OR ')
  const isInexact = table.integerKey ? 'FALSE' : set.id.map(inexactText).join(' OR ')
  const [counts] = database.rows(
    `SELECT count(*), coalesce(sum(${isNull}), 0), coalesce(sum(${isInexact}), 0) FROM main.${quoted(set.table)}`,
  )
  const [records, nulls, inexact] = counts ?? []
  refuse(database, set, { count: Number(nulls), problem: 'null' })
  refuse(database, set, { count: Number(inexact), problem: 'text that is not valid Unicode' })
  return BigInt(Number(records))
}

/** True when the text would come back from JavaScript with other bytes, so that it could not name its record. */
function inexactText(column: string): string {
  const name = quoted(column)
  return `(typeof(${name}) = 'text' AND CAST(kvx_text(${name}) AS BLOB) IS NOT CAST(${name} AS BLOB))`
}

function requireUnique(database: Database, set: RecordSet): void {
  const id = set.id.map((column) => `${quoted(column)} COLLATE BINARY`).join(', ')
  const [duplicates] = database.rows(
    `SELECT coalesce(sum(occurrences), 0) FROM (SELECT count(*) AS occurrences FROM main.${quoted(set.table)} GROUP BY ${id} HAVING count(*) > 1)`,
  )
  refuse(database, set, { count: Number(duplicates?.[0]), problem: 'not unique' })
}

type Finding = { readonly count: number; readonly problem: string }

function refuse(database: Database, set: RecordSet, { count, problem }: Finding): void {
  if (count === 0) return
  const id = set.id.map(shown).join(', ')
  const records = count === 1 ? '1 record' : `${count} records`
  throw shapeError(
    database.target,
    `the id (${id}) of table ${shown(set.table)} is ${problem} in ${records}`,
    {
      hint: 'declare columns as `id` in kvx.yaml that name each record once',
      details: { records: count },
    },
  )
}

function warningsOf(set: RecordSet, table: Table): StoreFacts['warnings'] {
  const name = shown(table.name)
  const triggers = table.triggers.map((trigger) => ({
    code: 'TRIGGER',
    message: `table ${name} has the trigger ${shown(trigger)}: what it changes is read back, what it does elsewhere is not`,
  }))
  const generated = set.columns
    .filter((column) => table.generated.has(column))
    .map((column) => ({
      code: 'GENERATED_COLUMN',
      message: `column ${shown(column)} of table ${name} is generated: it is compared but cannot be changed`,
    }))
  const unindexed = {
    code: 'ID_NOT_INDEXED',
    message: `no unique index of table ${name} covers its id: each page and each write reads the whole table`,
  }
  return [...triggers, ...generated, ...(table.proven ? [] : [unindexed])]
}
