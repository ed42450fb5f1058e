/**
 * A second process beside the tests: the application as a writer, a lock holder, a crash, or kvx itself under a
 * tracer or as another user. It prints one line when it is ready and answers when its input ends.
 */
import { writeSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { isKvxError } from '../../../src/core/errors.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/sqlite-store.ts'

const [mode = '', path = '', column = ''] = process.argv.slice(2)
const say = (value: unknown): number => writeSync(1, `${JSON.stringify(value)}\n`)
const openDatabase = (): DatabaseSync => new DatabaseSync(path, { timeout: 20_000 })

function untilInputEnds(): Promise<void> {
  return new Promise((resolve) => {
    process.stdin.on('end', resolve)
    process.stdin.resume()
  })
}

/** Sets `column` of random records, each time to a text that was never there. */
async function write(): Promise<void> {
  const database = openDatabase()
  const ids = database
    .prepare('SELECT id FROM t')
    .all()
    .map((row) => String(row['id']))
  const update = database.prepare(`UPDATE t SET "${column}" = ? WHERE id = ?`)
  const written: Record<string, string> = {}
  const ending = new AbortController()
  const ended = untilInputEnds().then(() => ending.abort())
  for (let count = 0; !ending.signal.aborted; count += 1) {
    const id = ids[Math.floor(Math.random() * ids.length)] ?? ''
    update.run(`application ${count}`, id)
    written[id] = `application ${count}`
    if (count === 0) say('ready')
    await sleep(1)
  }
  await ended
  say(written)
}

/** Holds a lock or a read transaction until its input ends. */
async function hold(begin: string): Promise<void> {
  const database = openDatabase()
  database.exec(begin)
  if (begin === 'BEGIN') database.prepare('SELECT count(*) FROM t').get()
  say('ready')
  await untilInputEnds()
  database.exec('ROLLBACK')
}

/** Writes at once and commits a little later. */
async function commit(): Promise<void> {
  const database = openDatabase()
  database.exec("BEGIN IMMEDIATE; UPDATE t SET value = 'by the application'")
  say('ready')
  await sleep(300)
  database.exec('COMMIT')
  database.close()
}

/** Keeps a connection open without a transaction. */
async function idle(): Promise<void> {
  const database = openDatabase()
  database.prepare('SELECT count(*) FROM t').get()
  say('ready')
  await untilInputEnds()
  database.close()
}

/** Dies in the middle of a transaction that has written to the database file already: a hot journal stays. */
function crash(): void {
  const database = openDatabase()
  database.exec('PRAGMA cache_size = 5; BEGIN IMMEDIATE')
  database.exec("UPDATE t SET value = replace(value, 'old', 'HOT')")
  process.kill(process.pid, 'SIGKILL')
}

/** A whole visit of kvx: every record gets a new value. */
async function swap(): Promise<void> {
  const set = { table: 't', id: ['id'], columns: ['value'] }
  const store = await openSqliteStore({ name: 'local', path, busyMs: 500 })
  for await (const page of store.scan(set, 100)) {
    const swaps = page.map(({ id, cells }) => ({ id, expected: cells, change: { value: 'n'.repeat(2000) } }))
    writeSync(1, 'SWAP\n')
    const outcomes = await store.swap(set, swaps, () => {})
    writeSync(1, 'ACKNOWLEDGED\n')
    say(outcomes.length)
  }
  await store.settle()
  await store.close()
}

/** Scans everything in small pages and tells the most memory that the process ever had, in kilobytes. */
async function scan(): Promise<void> {
  const store = await openSqliteStore({ name: 'local', path })
  let records = 0
  for await (const page of store.scan({ table: 't', id: ['id'], columns: ['value'] }, 500))
    records += page.length
  await store.close()
  say({ records, peak: process.resourceUsage().maxRSS })
}

const modes: Readonly<Record<string, () => Promise<void> | void>> = {
  write,
  lock: () => hold('BEGIN IMMEDIATE'),
  exclusive: () => hold('BEGIN EXCLUSIVE'),
  read: () => hold('BEGIN'),
  commit,
  idle,
  crash,
  swap,
  scan,
}

try {
  await modes[mode]?.()
} catch (error) {
  if (!isKvxError(error)) throw error
  say({ code: error.code, exit: error.exit, message: error.message, hint: error.hint })
}
