/**
 * A second process beside the tests: the application as a writer or a lock holder, or kvx itself to be measured.
 * It prints one line when it is ready and answers when its input ends.
 */
import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise'
import { lockMysql } from '../../../src/stores/mysql/lock.ts'
import { openMysqlStore } from '../../../src/stores/mysql/mysql-store.ts'

const [mode = '', url = '', column = ''] = process.argv.slice(2)
const say = (value: unknown): number => writeSync(1, `${JSON.stringify(value)}\n`)

async function connect(): Promise<Connection> {
  return await createConnection({ uri: url })
}

function untilInputEnds(): Promise<void> {
  return new Promise((resolve) => {
    process.stdin.on('end', resolve)
    process.stdin.resume()
  })
}

/** Sets `column` of random records, each time to a text that was never there. */
async function write(): Promise<void> {
  const client = await connect()
  const [rows] = await client.query<RowDataPacket[]>('SELECT id FROM t')
  const written: Record<string, string> = {}
  const ending = new AbortController()
  const ended = untilInputEnds().then(() => ending.abort())
  for (let count = 0; !ending.signal.aborted; count += 1) {
    const id = String(rows[Math.floor(Math.random() * rows.length)]?.['id'])
    await client.query(`UPDATE t SET \`${column}\` = ? WHERE id = ?`, [`application ${count}`, id])
    written[id] = `application ${count}`
    if (count === 0) say('ready')
    await sleep(1)
  }
  await ended
  say(written)
  await client.end()
}

/** Holds locks on all records until its input ends. */
async function lock(): Promise<void> {
  const client = await connect()
  await client.query('BEGIN')
  await client.query('SELECT * FROM t FOR UPDATE')
  say('ready')
  await untilInputEnds()
  await client.query('ROLLBACK')
  await client.end()
}

/** Scans everything in small pages and tells the most memory that the process ever had, in kilobytes. */
async function scan(): Promise<void> {
  const store = await openMysqlStore({ name: 'app', url })
  let records = 0
  for await (const page of store.scan({ table: 't', id: ['id'], columns: ['value'] }, 500))
    records += page.length
  await store.close()
  say({ records, peak: process.resourceUsage().maxRSS })
}

/** A run of kvx as far as other runs see it: it holds the lock until its input ends. */
async function run(): Promise<void> {
  const held = await lockMysql('app', url)
  say('ready')
  await untilInputEnds()
  held.release()
}

const modes: Readonly<Record<string, () => Promise<void>>> = { write, lock, scan, run }
await modes[mode]?.()
