import {
  type Connection as Client,
  createConnection,
  type ResultSetHeader,
  type RowDataPacket,
} from 'mysql2/promise'
import { KvxError } from '../../core/errors.ts'
import { endQuietly } from '../end-quietly.ts'
import { type ServerTarget, unknownOutcome } from '../server-errors.ts'
import { mysqlError, serverErrno } from './mysql-errors.ts'
import { optionsOf } from './mysql-url.ts'

/** A row: bytes of binary expressions, text of all others. */
export type Row = readonly (string | Buffer | null)[]
export type Values = readonly (string | null)[]

export type ConnectionOptions = {
  readonly target: ServerTarget
  readonly url: string
  /** How long to wait for a lock of another transaction; the server counts whole seconds. */
  readonly lockMs: number
  /** Of each statement; without it that of the server. */
  readonly statementMs: number | undefined
}

/** One session of the server. Every error that leaves it is a `KvxError` without a value. */
export type Connection = {
  readonly target: ServerTarget
  readonly isMariadb: boolean
  rows(sql: string, values?: Values): Promise<readonly Row[]>
  /** Number of rows that the statement found, changed or not. */
  run(sql: string, values?: Values): Promise<number>
  /** Checks a statement and the right to it without running it. */
  check(sql: string): Promise<void>
  /**
   * Commits what `work` did, or rolls back and passes its error on. Transactions of one connection wait for each
   * other.
   * @throws STORE_UNAVAILABLE with `outcome: unknown` when the connection was lost while it committed
   */
  transaction<T>(work: () => Promise<T>): Promise<T>
  /** True once the server or the network ended the session. */
  readonly isLost: boolean
  close(): Promise<void>
}

const connectMs = 15_000

/** @throws STORE_UNAVAILABLE, STORE_SHAPE when there is no such database */
export async function connect(options: ConnectionOptions): Promise<Connection> {
  const { target, url } = options
  try {
    const client = await createConnection({
      ...optionsOf(url),
      connectTimeout: connectMs,
      charset: 'utf8mb4',
      // The server may not ask for files of this machine. `affectedRows` counts rows that were found.
      flags: ['FOUND_ROWS', '-LOCAL_FILES'],
      rowsAsArray: true,
      // No value becomes an object of JavaScript.
      typeCast: (field, next) => (field.type === 'GEOMETRY' ? field.buffer() : next()),
      jsonStrings: true,
      dateStrings: true,
      enableKeepAlive: true,
      maxPreparedStatements: 32,
      connectAttributes: { program_name: 'kvx' },
    })
    try {
      return await prepareSession(client, options)
    } catch (error) {
      client.destroy()
      throw error
    }
  } catch (error) {
    throw mysqlError(error, target)
  }
}

/** Values that do not fit are errors, whatever the server would do with them; times are those of UTC. */
async function prepareSession(client: Client, { target, lockMs, statementMs }: ConnectionOptions) {
  let lost = false
  client.on('error', () => (lost = true))
  client.on('end', () => (lost = true))
  const connection = wrap(client, target, () => lost)
  const [version] = await connection.rows('SELECT VERSION()')
  const isMariadb = String(version?.[0]).includes('MariaDB')
  const settings = [
    "sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO'",
    "time_zone = '+00:00'",
    'autocommit = 1',
    `innodb_lock_wait_timeout = ${Math.max(1, Math.ceil(lockMs / 1000))}`,
    'wait_timeout = 2147483',
    ...(statementMs === undefined
      ? []
      : [isMariadb ? `max_statement_time = ${statementMs / 1000}` : `max_execution_time = ${statementMs}`]),
  ]
  await connection.run(`SET SESSION ${settings.join(', SESSION ')}`)
  return {
    ...connection,
    isMariadb,
    get isLost() {
      return lost
    },
  }
}

function wrap(client: Client, target: ServerTarget, isLost: () => boolean): Connection {
  const guard = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw mysqlError(error, target)
    }
  }
  let last: Promise<unknown> = Promise.resolve()
  let closed = false
  return {
    target,
    isMariadb: false,
    rows: async (sql, values = []) =>
      await guard(async () => (await client.execute<RowDataPacket[][]>(sql, [...values]))[0].map(toRow)),
    run: async (sql, values = []) =>
      await guard(async () => (await client.execute<ResultSetHeader>(sql, [...values]))[0].affectedRows),
    check: async (sql) =>
      await guard(async () => {
        const statement = await client.prepare(sql)
        await statement.close()
      }),
    transaction: async (work) => {
      const mine = last.then(async () => await transact(client, target, work))
      last = mine.catch(() => undefined)
      return await mine
    },
    get isLost() {
      return isLost()
    },
    close: async () => {
      if (closed) return
      closed = true
      await endQuietly(async () => client.end())
      client.destroy()
    },
  }
}

/** Numbers come from the server's own tables only; every column of an application is asked for as text or bytes. */
function toRow(row: readonly unknown[]): Row {
  return row.map((cell) => {
    if (cell === null || Buffer.isBuffer(cell) || typeof cell === 'string') return cell
    if (typeof cell === 'number' || typeof cell === 'bigint') return cell.toString()
    throw new KvxError('BUG', 'the driver of MySQL made an object of a value')
  })
}

async function transact<T>(client: Client, target: ServerTarget, work: () => Promise<T>): Promise<T> {
  try {
    await client.query('START TRANSACTION')
    const result = await work()
    await commit(client, target)
    return result
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined)
    throw isOurs(error) ? error : mysqlError(error, target)
  }
}

/** What the caller of a transaction throws passes through as it is. */
function isOurs(error: unknown): boolean {
  return !(error instanceof Error && ('errno' in error || 'fatal' in error))
}

async function commit(client: Client, target: ServerTarget): Promise<void> {
  try {
    await client.query('COMMIT')
  } catch (error) {
    const errno = serverErrno(error)
    if (errno !== undefined && ![1053, 1927, 1317].includes(errno)) throw error
    throw unknownOutcome(target)
  }
}
