import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { KvxError } from '../../core/errors.ts'
import type { Cell } from '../store.ts'
import { describeTarget, type SqliteTarget, sqliteError } from './sqlite-errors.ts'

/** A row as SQLite returns it: cells in the order of the select list. */
export type Row = readonly Cell[]

/** The part of node:sqlite that the driver uses. Every error that leaves it is a `KvxError` without a value. */
export type Database = {
  readonly target: SqliteTarget
  /** All rows at once; the statement is finished when the call returns. */
  rows(sql: string, values?: readonly Cell[]): readonly Row[]
  /** Number of rows that the statement itself changed; what triggers changed is not counted. */
  run(sql: string, values?: readonly Cell[]): number
  /** Commits what `work` did, or rolls back and passes its error on. */
  transaction<T>(mode: 'DEFERRED' | 'IMMEDIATE', work: () => T): T
  close(): void
}

const preparedLimit = 64

/**
 * `kvx_text(x)` is x after a way through a JavaScript string and back. Only statements of kvx may call it, no
 * trigger or view of the schema.
 */
const textFunction = { deterministic: true, directOnly: true, useBigIntArguments: true }

/**
 * Opens an existing database file for reading and writing; never creates one. A hot journal is rolled back by
 * SQLite before the first read. Commits are durable against power loss (`synchronous=EXTRA` also syncs the
 * directory after the journal's unlink: https://sqlite.org/pragma.html#pragma_synchronous), deleted content is
 * overwritten, foreign keys are SQLite's default (not enforced, no cascades), whatever Node would set.
 * @param target path without symbolic links
 * @param busyMs how long to wait for another writer
 * @throws STORE_SHAPE, LOCKED, IO_ERROR; DURABILITY_UNKNOWN when SQLite does not confirm the settings
 */
export function openDatabase(target: SqliteTarget, busyMs: number): Database {
  const guard = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw sqliteError(error, target)
    }
  }
  const url = pathToFileURL(target.path)
  url.searchParams.set('mode', 'rw')
  const options = {
    timeout: busyMs,
    readBigInts: true,
    returnArrays: true,
    enableForeignKeyConstraints: false,
  }
  const connection = guard(() => new DatabaseSync(url, options))
  const database = wrap(connection, target, guard)
  try {
    prepareConnection(database)
    guard(() => connection.function('kvx_text', textFunction, (text) => text))
  } catch (error) {
    connection.close()
    throw error
  }
  return database
}

function wrap(connection: DatabaseSync, target: SqliteTarget, guard: <T>(work: () => T) => T): Database {
  const prepared = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    const known = prepared.get(sql)
    if (known !== undefined) return known
    const statement = connection.prepare(sql)
    if (prepared.size >= preparedLimit) prepared.clear()
    prepared.set(sql, statement)
    return statement
  }
  return {
    target,
    rows: (sql, values = []) => guard(() => prepare(sql).all(...bindable(values)) as unknown as Row[]),
    run: (sql, values = []) => guard(() => Number(prepare(sql).run(...bindable(values)).changes)),
    transaction(mode, work) {
      guard(() => connection.exec(`BEGIN ${mode}`))
      try {
        const result = work()
        guard(() => connection.exec('COMMIT'))
        return result
      } catch (error) {
        rollBack(connection)
        throw error
      }
    },
    close() {
      prepared.clear()
      guard(() => connection.close())
    },
  }
}

/** A failed ROLLBACK changes nothing: SQLite undoes an open transaction when the file is opened again. */
function rollBack(connection: DatabaseSync): void {
  if (!connection.isTransaction) return
  try {
    connection.exec('ROLLBACK')
  } catch {
    // The error that led here is the one to report.
  }
}

/** An empty array without a buffer behind it would be bound as NULL. */
function bindable(values: readonly Cell[]): readonly SQLInputValue[] {
  return values.some(isEmpty) ? values.map((value) => (isEmpty(value) ? Buffer.alloc(0) : value)) : values
}

function isEmpty(value: Cell): boolean {
  return value instanceof Uint8Array && value.length === 0
}

function prepareConnection(database: Database): void {
  database.rows('PRAGMA schema_version')
  const settings = [
    { pragma: 'synchronous', value: 'EXTRA', confirmed: 3n },
    { pragma: 'secure_delete', value: 'ON', confirmed: 1n },
  ]
  for (const { pragma, value, confirmed } of settings) {
    database.rows(`PRAGMA ${pragma}=${value}`)
    if (database.rows(`PRAGMA ${pragma}`)[0]?.[0] === confirmed) continue
    throw new KvxError(
      'DURABILITY_UNKNOWN',
      `${describeTarget(database.target)} does not confirm ${pragma}=${value}`,
    )
  }
}
