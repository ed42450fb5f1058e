import { describeTarget, shapeError, shown } from '../server-errors.ts'
import { refuseIds } from '../server-refusals.ts'
import type { RecordSet, StoreFacts } from '../store.ts'
import type { Connection } from './connection.ts'
import { exactText, quoted } from './columns.ts'
import { columnOf, type Table } from './table.ts'
import { KvxError } from '../../core/errors.ts'

/**
 * Checks rights, visibility and id of a table that has the right columns, and counts the records.
 * @param forWriting a run follows: a role that can only read is refused before it begins
 * @throws STORE_SHAPE; STORE_UNAVAILABLE on a standby, when `forWriting`
 */
export async function inspectRecords(
  connection: Connection,
  table: Table,
  { set, forWriting }: { readonly set: RecordSet; readonly forWriting: boolean },
): Promise<StoreFacts> {
  const rights = await readRights(connection, table, set)
  refuseHidden(connection, table, rights)
  if (forWriting) refuseReadOnly(connection, table, rights)
  await refuseRules(connection, table)
  const records = await countRecords(connection, table, set)
  if (!table.proven) await requireUnique(connection, table, set)
  return { records, warnings: [...warningsOf(table, set), ...(await serverWarnings(connection, rights))] }
}

type Rights = {
  readonly role: string
  readonly unreadable: readonly string[]
  readonly writable: readonly string[]
  /** Row security decides which rows this role sees. */
  readonly filtered: boolean
  readonly isStandby: boolean
}

async function readRights(connection: Connection, table: Table, set: RecordSet): Promise<Rights> {
  const rows = await connection.rows(
    `SELECT current_user, a.attname,
        pg_catalog.has_column_privilege($1::oid, a.attnum, 'SELECT'),
        pg_catalog.has_column_privilege($1::oid, a.attnum, 'UPDATE'),
        pg_catalog.row_security_active($1::oid),
        pg_catalog.pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'
      FROM pg_catalog.pg_attribute a
      WHERE a.attrelid = $1::oid AND a.attname = ANY ($2::name[]) AND NOT a.attisdropped`,
    [table.oid, [...set.id, ...set.columns]],
  )
  const [first] = rows
  const named = rows.map(([, name, select, update]) => ({ name: String(name), select, update }))
  return {
    role: String(first?.[0]),
    unreadable: named.filter(({ select }) => select !== 't').map(({ name }) => name),
    writable: named
      .filter(({ name, update }) => update === 't' && set.columns.includes(name))
      .map(({ name }) => name),
    filtered: first?.[4] === 't',
    isStandby: first?.[5] === 't',
  }
}

function refuseHidden(connection: Connection, table: Table, rights: Rights): void {
  const name = shown(`${table.schema}.${table.name}`)
  if (rights.unreadable.length > 0) {
    const columns = rights.unreadable.map(shown).join(', ')
    throw shapeError(connection.target, `the role ${shown(rights.role)} cannot read ${columns} of ${name}`, {
      hint: `as the owner of the table run \`GRANT SELECT ON ${table.sql} TO ${quoted(rights.role)}\``,
    })
  }
  if (!rights.filtered) return
  throw shapeError(
    connection.target,
    `row level security decides which records of ${name} the role ${shown(rights.role)} sees: hidden ones would be missed in silence`,
    {
      hint: 'connect as the owner of the table (where it has no FORCE ROW LEVEL SECURITY), or as a role with BYPASSRLS',
    },
  )
}

function refuseReadOnly(connection: Connection, table: Table, rights: Rights): void {
  if (rights.isStandby) {
    throw new KvxError(
      'STORE_UNAVAILABLE',
      `${describeTarget(connection.target)} is read-only here: a standby, or default_transaction_read_only`,
      { hint: 'connect to the primary server' },
    )
  }
  if (rights.writable.length > 0) return
  const name = shown(`${table.schema}.${table.name}`)
  throw shapeError(connection.target, `the role ${shown(rights.role)} can read ${name} but not write it`, {
    hint: `as the owner of the table run \`GRANT SELECT, INSERT, UPDATE ON ${table.sql} TO ${quoted(rights.role)}\``,
  })
}

/** `ON UPDATE DO INSTEAD`: an update of kvx would do something else. */
async function refuseRules(connection: Connection, table: Table): Promise<void> {
  const rules = await connection.rows(
    "SELECT rulename FROM pg_catalog.pg_rewrite WHERE ev_class = $1::oid AND ev_type IN ('2', '3') ORDER BY rulename",
    [table.oid],
  )
  if (rules.length === 0) return
  const names = rules.map(([rule]) => shown(String(rule))).join(', ')
  throw shapeError(
    connection.target,
    `table ${shown(table.name)} has rules that rewrite what is written to it: ${names}`,
    { hint: 'replace the rule by a trigger, or declare the table that it writes to' },
  )
}

async function countRecords(connection: Connection, table: Table, set: RecordSet): Promise<bigint> {
  const isNull = set.id.map((name) => `t.${quoted(name)} IS NULL`).join(' OR ')
  const [counts] = await connection.rows(
    `SELECT count(*), count(*) FILTER (WHERE ${isNull}) FROM ${table.sql} AS t`,
  )
  refuseIds(connection.target, set, { count: Number(counts?.[1]), problem: 'null' })
  return BigInt(counts?.[0] ?? 0)
}

async function requireUnique(connection: Connection, table: Table, set: RecordSet): Promise<void> {
  const id = set.id.map((name) => {
    const column = columnOf(table, name)
    return column.kind === 'text' ? exactText(column) : `t.${quoted(name)}`
  })
  const [duplicates] = await connection.rows(
    `SELECT coalesce(sum(d.records), 0) FROM (SELECT count(*) AS records FROM ${table.sql} AS t
      GROUP BY ${id.join(', ')} HAVING count(*) > 1) d`,
  )
  refuseIds(connection.target, set, { count: Number(duplicates?.[0]), problem: 'not unique' })
}

type Warning = StoreFacts['warnings'][number]

function warningsOf(table: Table, set: RecordSet): readonly Warning[] {
  const name = shown(table.name)
  const all: (Warning | false)[] = [
    ...table.triggers.map((trigger) => ({
      code: 'TRIGGER',
      message: `table ${name} has the trigger ${shown(trigger)}: what it changes is read back, what it does elsewhere is not`,
    })),
    ...set.columns
      .filter((column) => table.columns.get(column)?.generated === true)
      .map((column) => ({
        code: 'GENERATED_COLUMN',
        message: `column ${shown(column)} of table ${name} is generated: it is compared but cannot be changed`,
      })),
    !table.proven && {
      code: 'ID_NOT_INDEXED',
      message: `no unique index of table ${name} covers its id: each page and each write reads the whole table`,
    },
    table.isUnlogged && {
      code: 'UNLOGGED',
      message: `table ${name} is unlogged: a crash of the server empties it, whatever kvx wrote`,
    },
    table.staleCollation && {
      code: 'COLLATION_CHANGED',
      message: `the libraries of the server order text otherwise than when an index of ${name} was built: run REINDEX, then ALTER COLLATION … REFRESH VERSION`,
    },
  ]
  return all.filter((warning) => warning !== false)
}

async function serverWarnings(connection: Connection, rights: Rights): Promise<readonly Warning[]> {
  const [settings] = await connection.rows(
    "SELECT current_setting('fsync'), current_setting('full_page_writes')",
  )
  const all: (Warning | false)[] = [
    settings?.includes('off') === true && {
      code: 'FSYNC_OFF',
      message:
        'the server runs with fsync or full_page_writes off: a power cut can undo or damage what it acknowledged',
    },
    (rights.writable.length === 0 || rights.isStandby) && {
      code: 'READ_ONLY',
      message: `the role ${shown(rights.role)} can read here but not write: enough for a look, not for a run`,
    },
  ]
  return all.filter((warning) => warning !== false)
}
