import { hostname } from 'node:os'
import { KvxError } from '../../core/errors.ts'
import { describeTarget, type ServerTarget } from '../server-errors.ts'
import { lockOf, type ServerLock } from '../server-lock.ts'
import { connect, type Connection } from './connection.ts'
import { placeOf, verifiedTls } from './server-url.ts'

/** `kvx` and a number, as pg_locks shows them in classid and objid. Advisory locks belong to one database. */
const lockKey = [0x6b7678, 1] as const

/** Server processes that hold the lock for this very process, under whatever name it knows the server. */
const own = new Set<string>()

/**
 * Keeps other runs, of any host, away from a database: an advisory lock on a session of its own, which ends with
 * the session, however that ends.
 * @throws LOCKED naming what the server shows of the holder; STORE_UNAVAILABLE
 */
export async function lockPostgres(name: string, url: string): Promise<ServerLock> {
  const target = { name, place: placeOf(url) }
  const connection = await connect({
    target,
    url: verifiedTls(url),
    applicationName: `kvx run on ${hostname().slice(0, 30)}, process ${process.pid}`,
    lockMs: 5000,
    statementMs: undefined,
  })
  try {
    return await takeLock(connection)
  } catch (error) {
    await connection.close()
    throw error
  }
}

async function takeLock(connection: Connection): Promise<ServerLock> {
  const { target } = connection
  const [answer] = await connection.rows(
    `SELECT pg_catalog.pg_try_advisory_lock(${lockKey.join(', ')}), pg_catalog.pg_backend_pid(),
      (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`,
  )
  const [got, pid, database] = answer ?? []
  const isOurs = `${database ?? ''}:${pid ?? ''}`
  if (got !== 't') {
    const holder = await findHolder(connection)
    // Another name of the same database in the same configuration.
    if (!own.has(`${database ?? ''}:${holder?.pid ?? ''}`)) throw lockedError(target, holder)
  }
  return lockOf(connection, own, isOurs)
}

type Holder = { readonly pid: string; readonly application: string; readonly since: string | null }

async function findHolder(connection: Connection): Promise<Holder | undefined> {
  const [row] = await connection.rows(
    `SELECT l.pid, a.application_name, to_char(a.backend_start, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
      FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      WHERE l.locktype = 'advisory' AND l.granted AND l.classid = ${lockKey[0]} AND l.objid = ${lockKey[1]}
        AND l.objsubid = 2
        AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`,
  )
  return row === undefined
    ? undefined
    : { pid: String(row[0]), application: row[1] ?? '', since: row[2] ?? null }
}

function lockedError(target: ServerTarget, holder: Holder | undefined): KvxError {
  const what = `${describeTarget(target)} is locked by another run`
  if (holder === undefined)
    return new KvxError('LOCKED', what, { hint: 'run the command again when it has ended' })
  const { pid, application, since } = holder
  // The name is chosen by whoever connects.
  const known = /^[\w .,-]{1,63}$/.test(application) ? application : 'a session'
  const started = since === null ? '' : `, since ${since}`
  return new KvxError('LOCKED', `${what}: ${known} (server process ${pid}${started})`, {
    hint: 'wait until it has ended, or find out about it with `psql -c "SELECT * FROM pg_stat_activity"`',
    details: { pid: Number(pid), application: known },
  })
}
