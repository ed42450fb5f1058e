import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { KvxError } from '../../core/errors.ts'
import { endQuietly } from '../end-quietly.ts'
import { describeTarget, type ServerTarget, unknownOutcome } from '../server-errors.ts'
import { postgresError, serverFailure } from './postgres-errors.ts'

/** A row as the server printed it: cells in the order of the select list. */
export type Row = readonly (string | null)[]
/** Values of parameters: texts, or one array of them for each column of a batch. */
export type Values = readonly (string | null | readonly (string | null)[])[]

export type ConnectionOptions = {
  readonly target: ServerTarget
  readonly url: string
  /** What pg_stat_activity shows. */
  readonly applicationName: string
  /** How long to wait for a lock of another transaction. */
  readonly lockMs: number
  /** Of each statement; without it that of the role or the server. */
  readonly statementMs: number | undefined
}

/** One session of the server. Every error that leaves it is a `KvxError` without a value. */
export type Connection = {
  readonly target: ServerTarget
  /** Of the server, e.g. 150018. */
  readonly version: number
  rows(sql: string, values?: Values): Promise<readonly Row[]>
  /**
   * Commits what `work` did, or rolls back and passes its error on. Transactions of one connection wait for each
   * other.
   * @throws STORE_UNAVAILABLE with `outcome: unknown` when the connection was lost while it committed
   */
  transaction<T>(mode: 'READ ONLY' | 'READ WRITE', work: () => Promise<T>): Promise<T>
  /** The same as `rows`, after the transactions that wait before it: its statement runs in none of them. */
  rowsInTurn(sql: string, values?: Values): Promise<readonly Row[]>
  /** True once the server or the network ended the session. */
  readonly isLost: boolean
  /** Runs when the server or the network ended the session. */
  close(): Promise<void>
}

/** @throws STORE_UNAVAILABLE, STORE_SHAPE when there is no such database */
export async function connect(options: ConnectionOptions): Promise<Connection> {
  const { target } = options
  try {
    const client = makeClient(options)
    let lost = false
    client.on('error', () => (lost = true))
    client.on('end', () => (lost = true))
    try {
      await client.connect()
      const token = randomBytes(16).toString('hex')
      const [version] = (await query(client, settingsSql(options, token), [])).rows
      return wrap(client, { target, token, version: Number(version?.[0]), isLost: () => lost })
    } catch (error) {
      await endQuietly(async () => client.end())
      throw error
    }
  } catch (error) {
    throw postgresError(error, target)
  }
}

const connectMs = 15_000

function makeClient({ url, applicationName }: ConnectionOptions): Client {
  return new Client({
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: connectMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 30_000,
    // Every value stays the text that the server sent: no type of JavaScript could keep them all exactly.
    types: { getTypeParser: () => (value: string | Buffer) => String(value) },
  })
}

/**
 * What a session needs, in one statement: `row_security` off makes a query fail that a policy would filter in
 * silence; commits wait for the disk; values print in one way whatever role and server prefer. A setting that
 * this server does not have is left out.
 */
function settingsSql({ lockMs, statementMs }: ConnectionOptions, token: string): string {
  const settings: Readonly<Record<string, string>> = {
    row_security: 'off',
    timezone: 'UTC',
    datestyle: 'ISO, YMD',
    intervalstyle: 'postgres',
    bytea_output: 'hex',
    extra_float_digits: '3',
    lc_monetary: 'C',
    xmloption: 'content',
    lock_timeout: `${lockMs}ms`,
    idle_session_timeout: '0',
    idle_in_transaction_session_timeout: '600000ms',
    // A host that vanishes without a word is noticed, and what it locked is free again.
    tcp_keepalives_idle: '60',
    tcp_keepalives_interval: '10',
    tcp_keepalives_count: '6',
    ...(statementMs === undefined ? {} : { statement_timeout: `${statementMs}ms` }),
  }
  const list = Object.entries(settings).map(([name, value]) => `('${name}', '${value}')`)
  return `SELECT current_setting('server_version_num'), set_config('kvx.session', '${token}', false),
    CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END,
    (SELECT count(set_config(s.name, w.value, false)) FROM (VALUES ${list.join(', ')}) AS w(name, value)
      JOIN pg_catalog.pg_settings s ON lower(s.name) = w.name)`
}

type Session = {
  readonly target: ServerTarget
  readonly token: string
  readonly version: number
  readonly isLost: () => boolean
}

function wrap(client: Client, { target, token, version, isLost }: Session): Connection {
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    const mine = last.then(work, work)
    last = mine.catch(() => undefined)
    return await mine
  }
  const rows = async (sql: string, values: Values = []): Promise<readonly Row[]> => {
    try {
      return (await query(client, sql, values)).rows
    } catch (error) {
      throw postgresError(error, target)
    }
  }
  const transact = async <T>(mode: string, work: () => Promise<T>): Promise<T> => {
    await rows(`BEGIN ISOLATION LEVEL READ COMMITTED ${mode}`)
    try {
      if (mode === 'READ WRITE') await requireOwnSession(rows, target, token)
      const result = await work()
      if (mode === 'READ WRITE') await requireDurable(rows, target)
      await commit(client, target)
      return result
    } catch (error) {
      await query(client, 'ROLLBACK', []).catch(() => undefined)
      throw error
    }
  }
  let closed = false
  return {
    target,
    version,
    rows,
    rowsInTurn: async (sql, values) => await inTurn(async () => await rows(sql, values)),
    transaction: async (mode, work) => await inTurn(async () => await transact(mode, work)),
    get isLost() {
      return isLost()
    },
    close: async () => {
      if (closed) return
      closed = true
      await endQuietly(async () => client.end())
    },
  }
}

type Answer = { readonly rows: Row[]; readonly command: string }

async function query(client: Client, text: string, values: Values): Promise<Answer> {
  const result = await client.query<(string | null)[]>({ text, values: [...values], rowMode: 'array' })
  return { rows: result.rows, command: result.command }
}

/** A pooler that hands out another session for each transaction would lose every setting, and the lock. */
async function requireOwnSession(
  rows: Connection['rows'],
  target: ServerTarget,
  token: string,
): Promise<void> {
  const [own] = await rows("SELECT current_setting('kvx.session', true)")
  if (own?.[0] === token) return
  throw new KvxError(
    'STORE_UNAVAILABLE',
    `${describeTarget(target)} gives each transaction another session: a pooler lies between`,
    { hint: 'connect to the server itself, or to a pool in session mode' },
  )
}

/** A trigger may have switched it off for this very transaction. */
async function requireDurable(rows: Connection['rows'], target: ServerTarget): Promise<void> {
  const [commit] = await rows("SELECT current_setting('synchronous_commit')")
  if (commit?.[0] !== 'off') return
  throw new KvxError(
    'DURABILITY_OFF',
    `${describeTarget(target)}: a trigger or a function switched synchronous_commit off, nothing of the batch was written`,
    { hint: 'take `SET synchronous_commit` out of what runs on a write of this table' },
  )
}

/** COMMIT of a failed transaction answers ROLLBACK without an error. */
async function commit(client: Client, target: ServerTarget): Promise<void> {
  let answer: Answer
  try {
    answer = await query(client, 'COMMIT', [])
  } catch (error) {
    const failure = serverFailure(error)
    if (failure !== undefined && !/^(57P|08)/.test(failure.state)) throw postgresError(error, target)
    throw unknownOutcome(target)
  }
  if (answer.command === 'COMMIT') return
  throw new KvxError(
    'IO_ERROR',
    `${describeTarget(target)} rolled a transaction back instead of committing it`,
  )
}
