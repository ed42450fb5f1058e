import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { sqliteError } from '../../../src/stores/sqlite/sqlite-errors.ts'
import {
  makeDatabase,
  onDatabase,
  openStore,
  otherProgram,
  readAll,
  recordSet,
  refusalOf,
  startOther,
  swapAll,
  temporaryDirectory,
} from './fixture.ts'

const simple = "CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT); INSERT INTO t VALUES (1, 'old')"

type Trace = { readonly swap: readonly string[]; readonly settle: readonly string[] }

/** The calls that matter for durability from a swap's start to its acknowledgement, and from there to the end. */
function traceSwap(path: string): Trace {
  const log = join(temporaryDirectory(), 'trace')
  const calls = 'trace=fsync,fdatasync,unlink,unlinkat,write'
  const traced = ['-f', '-y', '-o', log, '-e', calls, process.execPath, otherProgram, 'swap', path]
  execFileSync('strace', traced, { stdio: ['ignore', 'ignore', 'inherit'] })
  const lines = readFileSync(log, 'utf8').split('\n')
  const start = lines.findIndex((line) => line.includes('"SWAP'))
  const end = lines.findIndex((line) => line.includes('"ACKNOWLEDGED'))
  expect(start).toBeGreaterThan(-1)
  expect(end).toBeGreaterThan(start)
  const here = lines.map((line) => (line.includes(dirname(path)) ? line : ''))
  return { swap: here.slice(start, end), settle: here.slice(end) }
}

describe('durability of a SQLite store', () => {
  it('syncs the directory after the journal is gone, before a swap is acknowledged, and once more at the end', () => {
    const path = makeDatabase(simple)
    const { swap: calls, settle } = traceSwap(path)
    const unlinked = calls.findIndex((call) => /unlink.*app\.db-journal/.test(call))
    expect(unlinked).toBeGreaterThan(-1)
    expect(calls.slice(0, unlinked).filter((call) => /sync\(\d+<.*app\.db>\)/.test(call))).not.toEqual([])
    const syncsDirectory = (call: string): boolean =>
      call.includes(`sync(`) && call.includes(`<${dirname(path)}>`)
    expect(calls.slice(unlinked).filter(syncsDirectory)).not.toEqual([])
    expect(settle.filter(syncsDirectory)).not.toEqual([])
  })

  it('syncs the WAL before a swap is acknowledged, and keeps the mode of the application', () => {
    const path = makeDatabase(`PRAGMA journal_mode = WAL; ${simple}`)
    expect(traceSwap(path).swap.filter((call) => /sync\(\d+<.*app\.db-wal>\)/.test(call))).not.toEqual([])
    expect(onDatabase(path, (database) => database.prepare('PRAGMA journal_mode').get())).toEqual({
      journal_mode: 'wal',
    })
  })

  it.each(['DELETE', 'WAL'])(
    'leaves no page with an old value in its own files once it is settled: %s',
    async (mode) => {
      const path =
        makeDatabase(`PRAGMA journal_mode = ${mode}; CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT);
      INSERT INTO t VALUES (1, 'keep'), (2, replace(hex(zeroblob(20000)), '00', 'OLDVALUE')), (3, 'OLDVALUE in a short cell')`)
      expect(readFileSync(path).includes('OLDVALUE')).toBe(true)
      // While the application keeps its connection, the WAL does not vanish with the last one closed.
      const application = startOther('idle', path)
      await application.next()
      const store = await openStore(path)
      await swapAll(store, recordSet(), 'n')
      await store.settle()
      expect(existsSync(`${path}-wal`) ? statSync(`${path}-wal`).size : 0).toBe(0)
      await store.close()
      await application.end()
      expect(readFileSync(path).includes('OLDVALUE')).toBe(false)
    },
  )

  it('settles quietly while a reader holds the WAL', async () => {
    const path = makeDatabase(`PRAGMA journal_mode = WAL; ${simple}`)
    const reader = startOther('read', path)
    await reader.next()
    const store = await openStore(path, 100)
    expect(await swapAll(store, recordSet(), 'new')).toEqual(['changed'])
    await store.settle()
    expect(statSync(`${path}-wal`).size).toBeGreaterThan(0)
    await reader.end()
    await store.settle()
    expect(statSync(`${path}-wal`).size).toBe(0)
  })

  it.each(['DELETE', 'WAL'])(
    'waits for a writer that commits in time instead of giving up: %s',
    async (mode) => {
      const path = makeDatabase(`PRAGMA journal_mode = ${mode}; ${simple}`)
      const store = await openStore(path, 20_000)
      const writer = startOther('commit', path)
      await writer.next()
      const swap = { id: [1n], expected: { value: 'old' }, change: { value: 'new' } }
      expect(await store.swap(recordSet(), [swap], () => {})).toEqual(['lost'])
      expect((await readAll(store, recordSet()))[0]?.cells).toEqual({ value: 'by the application' })
    },
  )

  it('writes nothing when a reader keeps the commit of a rollback journal waiting', async () => {
    const path = makeDatabase(simple)
    const reader = startOther('read', path)
    await reader.next()
    const store = await openStore(path, 100)
    expect(await refusalOf(swapAll(store, recordSet(), 'new'))).toMatchObject({ code: 'LOCKED', exit: 8 })
    await reader.end()
    expect((await readAll(store, recordSet()))[0]?.cells).toEqual({ value: 'old' })
    expect(await swapAll(store, recordSet(), 'new')).toEqual(['changed'])
  })
})

/** Runs a script that may mount, and gives what the program in it said about errors. */
function inNamespace(script: string, values: readonly string[]): readonly unknown[] {
  const command = ['--mount', '--map-root-user', 'sh', '-c', script, 'sh', ...values]
  const { stdout } = spawnSync('unshare', command, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'))
  return lines.map((line): unknown => JSON.parse(line))
}

describe('failures under a SQLite store', () => {
  it('says that the disk is full and keeps every old value', () => {
    const rows = `CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT);
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) INSERT INTO t SELECT i, 'old' FROM n`
    const path = makeDatabase(rows)
    const script =
      'mount -t tmpfs -o size=100k kvx "$1" && cp "$2" "$1/app.db" && "$3" "$4" swap "$1/app.db" && cat "$1/app.db" > "$5"'
    const after = join(temporaryDirectory(), 'after.db')
    const values = [temporaryDirectory(), path, process.execPath, otherProgram, after]
    expect(inNamespace(script, values)).toMatchObject([{ code: 'DISK_FULL', exit: 9 }])
    const [count] = onDatabase(after, (database) =>
      database.prepare("SELECT count(*) AS n FROM t WHERE value = 'old'").all(),
    )
    expect(count?.['n']).toBe(100n)
  })

  it('says that the database is read-only here, with the command that shows why', () => {
    const path = makeDatabase(simple)
    const script =
      'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" "$3" swap "$1/app.db"'
    const answers = inNamespace(script, [dirname(path), process.execPath, otherProgram])
    expect(answers).toMatchObject([{ code: 'IO_ERROR', exit: 9 }])
    expect(answers).toMatchObject([{ hint: expect.stringContaining(`ls -l ${path}`) }])
  })

  it('says that a damaged database is damaged', async () => {
    const path =
      makeDatabase(`${simple}; WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
      INSERT INTO t SELECT i, 'old' FROM n`)
    execFileSync('dd', [
      'if=/dev/urandom',
      `of=${path}`,
      'bs=4096',
      'seek=2',
      'count=8',
      'conv=notrunc',
      'status=none',
    ])
    const store = await openStore(path)
    expect(await refusalOf(readAll(store, recordSet(), 1000))).toMatchObject({ code: 'DAMAGED', exit: 5 })
  })

  it.each([
    [5, 'LOCKED'],
    [6, 'LOCKED'],
    [261, 'LOCKED'],
    [517, 'LOCKED'],
    [13, 'DISK_FULL'],
    [10, 'IO_ERROR'],
    [1034, 'IO_ERROR'],
    [8, 'IO_ERROR'],
    [776, 'IO_ERROR'],
    [14, 'IO_ERROR'],
    [7, 'RESOURCE_LIMIT'],
    [18, 'RESOURCE_LIMIT'],
    [11, 'DAMAGED'],
    [26, 'STORE_SHAPE'],
    [19, 'STORE_SHAPE'],
    [2067, 'STORE_SHAPE'],
    [1, 'STORE_SHAPE'],
    [17, 'STORE_SHAPE'],
    [999, 'IO_ERROR'],
  ])('names SQLite result code %i %s and passes none of its text on', (errcode, code) => {
    const raw = Object.assign(new Error('value 4711 of the row'), {
      errcode,
      errstr: '4711',
      code: 'ERR_SQLITE_ERROR',
    })
    const refusal = sqliteError(raw, { name: 'local', path: '/srv/app.db' })
    expect(refusal.code).toBe(code)
    expect(JSON.stringify([refusal.message, refusal.hint, refusal.details])).not.toContain('4711')
  })
})

/** The most memory, in kilobytes, that a process has while it scans this many records. */
async function peakOf(records: number): Promise<number> {
  const path = makeDatabase(`CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${records})
    INSERT INTO t SELECT i, printf('%0300d', i) FROM n`)
  const scanner = startOther('scan', path)
  const answer = (await scanner.next()) as { records: number; peak: number }
  expect(answer.records).toBe(records)
  return answer.peak
}

describe('the memory of a SQLite store', () => {
  it('stays flat: ten times the records need no more of it', async () => {
    const small = await peakOf(30_000)
    expect(await peakOf(300_000)).toBeLessThan(small * 1.8)
  })
})
