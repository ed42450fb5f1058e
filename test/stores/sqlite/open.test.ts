import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { openDatabase } from '../../../src/stores/sqlite/database.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/sqlite-store.ts'
import {
  makeDatabase,
  onDatabase,
  openStore,
  readAll,
  recordSet,
  refusalOf,
  startOther,
  swapAll,
  temporaryDirectory,
} from './fixture.ts'

const simple = "CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT); INSERT INTO t VALUES (1, 'old')"
const open = (path: string) => refusalOf(openSqliteStore({ name: 'local', path, busyMs: 200 }))

describe('opening a SQLite store', () => {
  it('refuses a file that is missing and makes none', async () => {
    const directory = temporaryDirectory()
    expect(await open(join(directory, 'app.db'))).toMatchObject({ code: 'FILE_NOT_FOUND', exit: 2 })
    expect(await open(join(directory, 'no', 'app.db'))).toMatchObject({ code: 'FILE_NOT_FOUND' })
    expect(readdirSync(directory)).toEqual([])
  })

  it('makes no file when it vanishes just before SQLite opens it', () => {
    const directory = temporaryDirectory()
    expect(() => openDatabase({ name: 'local', path: join(directory, 'app.db') }, 0)).toThrow(
      'cannot be opened',
    )
    expect(readdirSync(directory)).toEqual([])
  })

  it('refuses what is not a SQLite database and leaves it as it is', async () => {
    const directory = temporaryDirectory()
    const path = join(directory, 'notes.txt')
    const text = 'a secret that must not be shown '.repeat(300)
    writeFileSync(path, text)
    const refusal = await open(path)
    expect(refusal).toMatchObject({ code: 'STORE_SHAPE', exit: 2 })
    expect(refusal.message).toContain(path)
    expect(`${refusal.message} ${refusal.hint}`).not.toContain('secret')
    expect(readFileSync(path, 'utf8')).toBe(text)
    mkdirSync(join(directory, 'folder'))
    expect(await open(join(directory, 'folder'))).toMatchObject({ code: 'STORE_SHAPE' })
    execFileSync('mkfifo', [join(directory, 'pipe')])
    expect(await open(join(directory, 'pipe'))).toMatchObject({ code: 'STORE_SHAPE' })
    expect(await open('/dev/zero')).toMatchObject({ code: 'STORE_SHAPE' })
    expect(readdirSync(directory).sort()).toEqual(['folder', 'notes.txt', 'pipe'])
  })

  it('takes an empty file for a database without tables, and does not fill it', async () => {
    const path = join(temporaryDirectory(), 'empty.db')
    writeFileSync(path, '')
    const store = await openStore(path)
    expect(await refusalOf(store.inspect(recordSet()))).toMatchObject({ code: 'STORE_SHAPE' })
    await store.close()
    expect(readFileSync(path).length).toBe(0)
  })

  it("opens a path with signs that mean something in a URL or a shell, and keeps it whole in a hint's command", async () => {
    const directory = join(temporaryDirectory(), "a?mode=memory#%20 it's")
    mkdirSync(directory)
    const path = makeDatabase(simple, directory)
    const store = await openStore(path, 100)
    expect(await swapAll(store, recordSet(), 'new')).toEqual(['changed'])
    expect(onDatabase(path, (database) => database.prepare('SELECT value FROM t').get())).toEqual({
      value: 'new',
    })
    const holder = startOther('lock', path)
    await holder.next()
    const { hint = '' } = await refusalOf(swapAll(store, recordSet(), 'newer'))
    const word = /`fuser -v (.*)`/.exec(hint)?.[1] ?? ''
    expect(execFileSync('sh', ['-c', `printf %s ${word}`], { encoding: 'utf8' })).toBe(path)
  })

  it('follows a symbolic link, so that the journal lies beside the real file', async () => {
    const path = makeDatabase(simple)
    const link = join(temporaryDirectory(), 'link.db')
    symlinkSync(path, link)
    const store = await openStore(link)
    expect(await swapAll(store, recordSet(), 'new')).toEqual(['changed'])
    await store.close()
    expect(await open(join(link, 'x'))).toMatchObject({ code: 'FILE_NOT_FOUND' })
    expect(onDatabase(path, (database) => database.prepare('SELECT value FROM t').get())).toEqual({
      value: 'new',
    })
  })

  it('warns of a second name of the file', async () => {
    const path = makeDatabase(simple)
    linkSync(path, join(temporaryDirectory(), 'second.db'))
    const { warnings } = await (await openStore(path)).inspect(recordSet())
    expect(warnings.map((warning) => warning.code)).toEqual(['HARD_LINKS'])
  })

  it('says that a database is locked when another program holds it exclusively', async () => {
    const path = makeDatabase(simple)
    const holder = startOther('exclusive', path)
    await holder.next()
    const refusal = await open(path)
    expect(refusal).toMatchObject({ code: 'LOCKED', exit: 8 })
    expect(refusal.hint).toContain(`fuser -v ${path}`)
    await holder.end()
    expect(await readAll(await openStore(path), recordSet())).toHaveLength(1)
  })

  it('lets SQLite roll back the hot journal of a writer that was killed, before it reads', async () => {
    const path = makeDatabase(`CREATE TABLE t (id INTEGER PRIMARY KEY, value TEXT);
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
      INSERT INTO t SELECT i, printf('old%.*c', 2000, 'x') FROM n`)
    const writer = startOther('crash', path)
    await writer.end()
    expect(writer.child.signalCode).toBe('SIGKILL')
    expect(readFileSync(`${path}-journal`).length).toBeGreaterThan(10_000)
    expect(readFileSync(path).includes('HOTxxx')).toBe(true)
    const store = await openStore(path)
    const values = (await readAll(store, recordSet(), 100)).map((record) =>
      String(record.cells['value']).slice(0, 4),
    )
    expect(values).toEqual(Array.from({ length: 500 }, () => 'oldx'))
    expect(existsSync(`${path}-journal`)).toBe(false)
    expect(await swapAll(store, recordSet(), 'new')).toHaveLength(500)
  })

  it('keeps its lock on a database that the same process looks at a second time', async () => {
    const path = makeDatabase(simple)
    const store = await openStore(path)
    const [record] = await readAll(store, recordSet())
    const swap = { id: [1n], expected: record?.cells ?? {}, change: { value: 'new' } }
    let rival: unknown
    await store.swap(recordSet(), [swap], () => {
      void openSqliteStore({ name: 'again', path }).then((second) => second.close())
      const url = pathToFileURL(path).href
      const script = `const { DatabaseSync } = require('node:sqlite')
        try { new DatabaseSync(new URL(${JSON.stringify(url)}), { timeout: 0 }).exec('BEGIN IMMEDIATE'); console.log('got') }
        catch (error) { console.log(error.errcode) }`
      rival = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' }).stdout.trim()
    })
    expect(rival).toBe('5')
  })
})
