import { isKvxError } from '../../core/errors.ts'
import { shapeError, shown } from '../server-errors.ts'
import { refuseIds } from '../server-refusals.ts'
import type { RecordSet, StoreFacts } from '../store.ts'
import { exactText, quoted } from './columns.ts'
import type { Connection } from './connection.ts'
import { mysqlError } from './mysql-errors.ts'
import { columnOf, type Table } from './table.ts'

/**
 * Checks rights and id of a table that has the right columns, and counts the records.
 * @param forWriting a run follows: a user who can only read is refused before it begins
 * @throws STORE_SHAPE; STORE_UNAVAILABLE on a server that only reads, when `forWriting`
 */
export async function inspectRecords(
  connection: Connection,
  table: Table,
  { set, forWriting }: { readonly set: RecordSet; readonly forWriting: boolean },
): Promise<StoreFacts> {
  const canWrite = await mayWrite(connection, table, set)
  if (forWriting) await refuseReadOnly(connection, table, canWrite)
  const records = await countRecords(connection, table, set)
  if (!table.proven) await requireUnique(connection, table, set)
  const warnings = [...warningsOf(table, set), ...(await serverWarnings(connection))]
  return { records, warnings: canWrite ? warnings : [...warnings, readOnly] }
}

const readOnly = {
  code: 'READ_ONLY',
  message: 'the user can read here but not write: enough for a look, not for a run',
}

/** The server checks rights when a statement is prepared; it is never run. */
async function mayWrite(connection: Connection, table: Table, set: RecordSet): Promise<boolean> {
  for (const name of set.columns) {
    if (columnOf(table, name).generated) continue
    try {
      await connection.check(`UPDATE ${table.sql} SET ${quoted(name)} = ${quoted(name)}`)
      return true
    } catch (error) {
      if (!isKvxError(error, 'STORE_SHAPE')) throw error
    }
  }
  return false
}

async function refuseReadOnly(connection: Connection, table: Table, canWrite: boolean): Promise<void> {
  const { target } = connection
  if (!canWrite) {
    throw shapeError(target, `the user can read ${shown(table.name)} but not write it`, {
      hint: `as an administrator run \`GRANT SELECT, INSERT, UPDATE ON ${table.sql.replaceAll('`', '')} TO …\``,
    })
  }
  const [row] = await connection.rows(
    `SELECT @@global.read_only, coalesce(@@session.${connection.isMariadb ? 'tx' : 'transaction'}_read_only, 0)`,
  )
  if (row?.includes('1') !== true) return
  const only = Object.assign(new Error('read only'), { errno: 1290, sqlState: 'HY000' })
  throw mysqlError(only, target)
}

async function countRecords(connection: Connection, table: Table, set: RecordSet): Promise<bigint> {
  const isNull = set.id.map((name) => `${quoted(name)} IS NULL`).join(' OR ')
  const [counts] = await connection.rows(
    `SELECT CAST(count(*) AS CHAR), CAST(coalesce(sum(${isNull}), 0) AS CHAR) FROM ${table.sql}`,
  )
  refuseIds(connection.target, set, { count: Number(counts?.[1]), problem: 'null' })
  return BigInt(String(counts?.[0] ?? 0))
}

async function requireUnique(connection: Connection, table: Table, set: RecordSet): Promise<void> {
  const id = set.id.map((name) => exactText(columnOf(table, name)))
  const [duplicates] = await connection.rows(
    `SELECT CAST(coalesce(sum(d.records), 0) AS CHAR) FROM (SELECT count(*) AS records FROM ${table.sql}
      GROUP BY ${id.join(', ')} HAVING count(*) > 1) AS d`,
  )
  refuseIds(connection.target, set, { count: Number(duplicates?.[0]), problem: 'not unique' })
}

type Warning = StoreFacts['warnings'][number]

function warningsOf(table: Table, set: RecordSet): readonly Warning[] {
  const name = shown(table.name)
  const triggers = table.triggers.map((trigger) => ({
    code: 'TRIGGER',
    message: `table ${name} has the trigger ${shown(trigger)}: what it changes is read back, what it does elsewhere is not`,
  }))
  const columns = [...table.columns.values()]
  const generated = columns
    .filter((column) => column.generated && set.columns.includes(column.name))
    .map((column) => ({
      code: 'GENERATED_COLUMN',
      message: `column ${shown(column.name)} of table ${name} is generated: it is compared but cannot be changed`,
    }))
  const updates = columns
    .filter((column) => column.updates)
    .map((column) => ({
      code: 'UPDATED_COLUMN',
      message: `the server sets column ${shown(column.name)} of table ${name} to the time of each write, that of kvx too`,
    }))
  const unindexed = {
    code: 'ID_NOT_INDEXED',
    message: `no unique index of table ${name} covers its id: each page and each write reads the whole table`,
  }
  return [...triggers, ...generated, ...updates, ...(table.proven ? [] : [unindexed])]
}

async function serverWarnings(connection: Connection): Promise<readonly Warning[]> {
  const [row] = await connection.rows(
    'SELECT @@global.innodb_flush_log_at_trx_commit, @@global.log_bin, @@global.sync_binlog',
  )
  const [flush, log, sync] = (row ?? []).map(String)
  if (flush === '1' && (log === '0' || sync === '1')) return []
  const message =
    'the server does not sync each commit (innodb_flush_log_at_trx_commit, sync_binlog): a power cut can undo what it acknowledged'
  return [{ code: 'COMMIT_NOT_SYNCED', message }]
}
