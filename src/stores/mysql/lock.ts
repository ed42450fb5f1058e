import { createHash } from 'node:crypto'
import { KvxError } from '../../core/errors.ts'
import { describeTarget } from '../server-errors.ts'
import { lockOf, type ServerLock } from '../server-lock.ts'
import { connect, type Connection } from './connection.ts'
import { placeOf } from './mysql-url.ts'

/** Server threads that hold a lock for this very process, under whatever name it knows the server. */
const own = new Set<string>()

/**
 * Keeps other runs, of any host, away from a database: a named lock on a session of its own, which ends with the
 * session, however that ends.
 * @throws LOCKED naming what the server shows of the holder; STORE_UNAVAILABLE
 */
export async function lockMysql(name: string, url: string): Promise<ServerLock> {
  const target = { name, place: placeOf(url) }
  const connection = await connect({ target, url, lockMs: 5000, statementMs: undefined })
  try {
    return await takeLock(connection)
  } catch (error) {
    await connection.close()
    throw error
  }
}

async function takeLock(connection: Connection): Promise<ServerLock> {
  const [facts] = await connection.rows(
    'SELECT coalesce(DATABASE(), ""), @@global.hostname, @@global.port, CONNECTION_ID()'.replaceAll('"', "'"),
  )
  const [database = '', host, port, thread] = (facts ?? []).map(String)
  // The names of locks are the server's, not the database's, and have 64 signs at most.
  const name = `kvx.${createHash('sha256').update(database).digest('hex').slice(0, 40)}`
  const [answer] = await connection.rows('SELECT GET_LOCK(?, 0), IS_USED_LOCK(?)', [name, name])
  const isOurs = `${host ?? ''}:${port ?? ''}:${thread ?? ''}`
  if (answer?.[0] !== '1') {
    const holder = answer?.[1] === null || answer?.[1] === undefined ? undefined : String(answer[1])
    // Another name of the same database in the same configuration.
    if (!own.has(`${host ?? ''}:${port ?? ''}:${holder ?? ''}`)) throw await lockedError(connection, holder)
  }
  return lockOf(connection, own, isOurs)
}

async function lockedError(connection: Connection, holder: string | undefined): Promise<KvxError> {
  const what = `${describeTarget(connection.target)} is locked by another run`
  if (holder === undefined)
    return new KvxError('LOCKED', what, { hint: 'run the command again when it has ended' })
  const from = await hostOf(connection, holder)
  const place = from === undefined ? '' : ` from ${from}`
  return new KvxError('LOCKED', `${what}: server thread ${holder}${place}`, {
    hint: 'wait until it has ended, or find out about it with `SHOW PROCESSLIST`',
    details: { thread: Number(holder) },
  })
}

/** The server shows threads of other users only to who has the right PROCESS. */
async function hostOf(connection: Connection, thread: string): Promise<string | undefined> {
  const rows = await connection.rows('SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = ?', [thread])
  const host = rows[0]?.[0]
  return typeof host === 'string' && /^[\w.:-]{1,100}$/.test(host) ? host : undefined
}
