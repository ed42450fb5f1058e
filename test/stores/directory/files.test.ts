import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  watch,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openDirectoryStore } from '../../../src/stores/directory/directory-store.ts'
import type { Cells, Store, Swap } from '../../../src/stores/store.ts'
import { needsRoot, needsTool } from '../../support/needs.ts'
import { trustedDirectory } from '../../support/trusted-directory.ts'
import { replace } from './application.ts'
import { directoryWith, openLocked, openStore, pathsIn, readAll, refusalOf, setOf } from './fixture.ts'

const bytes = (text: string): Cells => ({ content: Buffer.from(text) })
const accept = (): void => {}
const swap = (path: string, from: string, to: string): Swap => ({
  id: [path],
  expected: bytes(from),
  change: bytes(to),
})

async function swapAll(store: Store, to: string): Promise<readonly string[]> {
  const records = await readAll(store, setOf())
  return store.swap(
    setOf(),
    records.map(({ id, cells }) => ({ id, expected: cells, change: bytes(to) })),
    accept,
  )
}

describe('which files are records', () => {
  it.each([
    ['projects/*/docs/**', ['projects/a/docs/1', 'projects/a/docs/deep/2', 'projects/b/docs/3']],
    [
      '**',
      [
        'other/docs/5',
        'projects/a/docs/1',
        'projects/a/docs/deep/2',
        'projects/a/note',
        'projects/b/docs/3',
        'top',
      ],
    ],
    ['*', ['top']],
    ['**/docs/*', ['other/docs/5', 'projects/a/docs/1', 'projects/b/docs/3']],
    ['projects/?/docs/?', ['projects/a/docs/1', 'projects/b/docs/3']],
    ['projects/a/note', ['projects/a/note']],
    ['projects/a/.*', ['projects/a/.hidden']],
    ['nothing/*', []],
  ])('takes what the pattern %s matches, sorted and depth first', async (match, wanted) => {
    const directory = directoryWith({
      top: 'x',
      'other/docs/5': 'x',
      'projects/b/docs/3': 'x',
      'projects/a/note': 'x',
      'projects/a/.hidden': 'x',
      'projects/a/docs/deep/2': 'x',
      'projects/a/docs/1': 'x',
    })
    const store = await openStore(directory, { match })
    expect(await pathsIn(store, setOf(['content'], match))).toEqual(wanted)
    expect((await store.inspect(setOf(['content'], match))).records).toBe(BigInt(wanted.length))
  })

  it('takes signs of regular expressions and shells as they are', async () => {
    const directory = directoryWith({ 'a.b/[x](1)+$': 'x', 'aXb/[x](1)+$': 'x', 'a.b/x': 'x' })
    const store = await openStore(directory, { match: 'a.b/[x](1)+$' })
    expect(await pathsIn(store, setOf(['content'], 'a.b/[x](1)+$'))).toEqual(['a.b/[x](1)+$'])
  })

  it('keeps the table inside the pattern of the store', async () => {
    const store = await openStore(directoryWith({ 'in/1': 'x', 'in/2': 'x', 'out/3': 'x' }), {
      match: 'in/*',
    })
    expect(await pathsIn(store, setOf(['content'], '**/1'))).toEqual(['in/1'])
    expect(await pathsIn(store, setOf(['content'], 'out/*'))).toEqual([])
    expect(await store.fetch(setOf(['content'], '**'), [['out/3'], ['in/../out/3'], ['in/2']])).toHaveLength(
      1,
    )
  })

  it.each(['/etc/*', '../x', 'a/../b', 'a//b', 'a/', '', 'a**', './a'])(
    'refuses the pattern %j',
    async (match) => {
      const refusal = await refusalOf(
        openDirectoryStore({ name: 'docs', path: '/var/tmp', match, format: 'file' }),
      )
      expect(refusal.code).toBe('STORE_SHAPE')
      const store = await openStore('/var/tmp', { match: 'none' })
      expect((await refusalOf(store.inspect(setOf(['content'], match)))).code).toBe('STORE_SHAPE')
    },
  )

  it('takes no unfinished file for a record, and says that it lies there', async () => {
    const directory = directoryWith({
      a: 'x',
      '.a.kvx-new': 'half',
      '.a.0123456789abcdef-0123456789abcdef.kvx-new': 'y',
    })
    const store = await openStore(directory, { match: '*' })
    const { records, warnings } = await store.inspect(setOf(['content'], '*'))
    expect(records).toBe(1n)
    expect(warnings.map(({ code }) => code)).toContain('LEFTOVERS')
    expect(await pathsIn(store, setOf(['content'], '.*'))).toEqual([])
    expect(readdirSync(directory)).toHaveLength(3)
  })

  it('warns of names with a leading dot that it leaves out, of no file, and that programs must be stopped', async () => {
    const store = await openStore(directoryWith({ '.old/a': 'x' }))
    const { warnings } = await store.inspect(setOf())
    expect(warnings.map(({ code }) => code)).toEqual(['OFFLINE_ONLY', 'NO_FILES', 'HIDDEN_FILES'])
    const online = await openStore(directoryWith({ a: 'x' }), { online: 'exchange' })
    expect((await online.inspect(setOf())).warnings).toEqual([])
  })
})

describe('what is refused before anything is written', () => {
  it.each([
    ['a symbolic link', (root: string) => symlinkSync('a', join(root, 'link')), 'link'],
    ['a link to a directory', (root: string) => symlinkSync('/etc', join(root, 'sub')), 'sub'],
    [
      'a file with two names',
      (root: string) => linkSync(join(root, 'a'), join(root, 'second')),
      'has 2 names',
    ],
    ['a FIFO', (root: string) => execFileSync('mkfifo', [join(root, 'pipe')]), 'pipe'],
    [
      'a file over 64 MiB',
      (root: string) => {
        writeFileSync(join(root, 'large'), '')
        truncateSync(join(root, 'large'), 64 * 1_048_576 + 1)
      },
      'large',
    ],
  ])('refuses %s', async (_, make, named) => {
    const root = directoryWith({ a: 'x' })
    make(root)
    const store = await openStore(root)
    const refusal = await refusalOf(store.inspect(setOf()))
    expect(refusal).toMatchObject({ code: 'STORE_SHAPE' })
    expect(refusal.message).toContain(named)
    expect((await refusalOf(readAll(store, setOf()))).code).toBe('STORE_SHAPE')
  })

  it('refuses a name that is not UTF-8', async () => {
    const root = directoryWith({ a: 'x' })
    writeFileSync(Buffer.concat([Buffer.from(`${root}/bad-`), Buffer.from([0xff])]), 'x')
    const refusal = await refusalOf((await openStore(root)).inspect(setOf()))
    expect(refusal).toMatchObject({ code: 'UNSAFE_FILE_TYPE' })
    expect(refusal.message).toContain('\\xff')
  })

  it('passes by what the pattern does not name', async () => {
    const root = directoryWith({ 'docs/a': 'x' })
    symlinkSync('/etc', join(root, 'elsewhere'))
    execFileSync('mkfifo', [join(root, 'pipe')])
    const store = await openStore(root, { match: 'docs/*' })
    expect(await pathsIn(store, setOf(['content'], 'docs/*'))).toEqual(['docs/a'])
  })

  it.each([
    [setOf(['value']), 'no column value'],
    [setOf(['content'], '**', ['id']), 'not id'],
    [setOf(['content'], '**', ['path', 'content']), 'path, content'],
  ])('refuses columns and ids that a file does not have (%#)', async (set, message) => {
    const refusal = await refusalOf((await openStore(directoryWith({ a: 'x' }))).inspect(set))
    expect(refusal.code).toBe('STORE_SHAPE')
    expect(refusal.message).toContain(message)
  })

  it('tells a directory that is missing from one that is none, and from one that vanished', async () => {
    const root = directoryWith({ a: 'x' })
    const options = { name: 'docs', match: '*', format: 'file' } as const
    expect((await refusalOf(openDirectoryStore({ ...options, path: join(root, 'b') }))).code).toBe(
      'FILE_NOT_FOUND',
    )
    expect((await refusalOf(openDirectoryStore({ ...options, path: join(root, 'a') }))).code).toBe(
      'STORE_SHAPE',
    )
    const gone = trustedDirectory()
    const store = await openStore(gone)
    rmSync(gone, { recursive: true })
    expect((await refusalOf(readAll(store, setOf()))).code).toBe('FILE_NOT_FOUND')
    expect((await refusalOf(store.inspect(setOf()))).code).toBe('FILE_NOT_FOUND')
    mkdirSync(gone)
  })
})

describe.each([undefined, 'exchange'] as const)('a swap with online %s', (online) => {
  it('keeps owner, mode, ACL and attributes of the file, whatever the umask', async (context) => {
    needsRoot(context)
    needsTool(context, 'setfacl')
    const root = directoryWith({ 'd/a': 'old', 'd/b': 'old' })
    const path = join(root, 'd/a')
    chownSync(path, 4321, 1234)
    chmodSync(path, 0o640)
    execFileSync('setfacl', ['-m', 'g:2345:r', path])
    const acl = execFileSync('getfacl', ['-cpn', path])
    const store = await openStore(root, { online })
    expect(await swapAll(store, 'new')).toEqual(['changed', 'changed'])
    expect(readFileSync(path, 'utf8')).toBe('new')
    expect(execFileSync('getfacl', ['-cpn', path])).toEqual(acl)
    expect(statSync(path)).toMatchObject({ uid: 4321, gid: 1234 })
    expect(readdirSync(join(root, 'd'))).toEqual(['a', 'b'])
  })

  it('tells what changed and what is gone, and leaves both alone', async () => {
    const root = directoryWith({ a: 'old', b: 'by the application', c: 'old' })
    const store = await openStore(root, { online })
    const swaps = [
      swap('a', 'old', 'new'),
      swap('b', 'old', 'new'),
      swap('none', 'old', 'new'),
      swap('../c', 'old', 'new'),
    ]
    expect(await store.swap(setOf(), swaps, accept)).toEqual(['changed', 'lost', 'gone', 'gone'])
    expect(['a', 'b', 'c'].map((name) => readFileSync(join(root, name), 'utf8'))).toEqual([
      'new',
      'by the application',
      'old',
    ])
  })

  it('compares bytes with bytes only', async () => {
    const store = await openStore(directoryWith({ a: 'old' }), { online })
    expect(
      await store.swap(setOf(), [{ id: ['a'], expected: { content: 'old' }, change: bytes('n') }], accept),
    ).toEqual(['lost'])
    expect(
      await store.swap(setOf(), [{ id: ['a'], expected: { content: null }, change: bytes('n') }], accept),
    ).toEqual(['lost'])
  })

  it('counts as lost what another program replaced again before the proof', async () => {
    const root = directoryWith({ a: 'old', b: 'old' })
    const store = await openStore(root, { online })
    let isDone = false
    const watcher = watch(root, (_, name) => {
      if (isDone || name !== '.b.kvx-new') return
      isDone = true
      replace(join(root, 'a'), 'newer')
    })
    const seen: unknown[] = []
    const outcomes = await store.swap(
      setOf(),
      [swap('a', 'old', 'new'), swap('b', 'old', 'new')],
      (records) => {
        seen.push(...records.map(({ id, cells }) => [id[0], String(cells['content'])]))
      },
    )
    watcher.close()
    expect(outcomes).toEqual(['lost', 'changed'])
    expect(seen).toEqual([['b', 'new']])
    expect(readFileSync(join(root, 'a'), 'utf8')).toBe('newer')
  })

  it('gives every file of the batch its old bytes when the proof of one fails', async () => {
    const root = directoryWith({ a: 'old a', b: 'old b', c: 'old c' })
    const store = await openStore(root, { online })
    const swaps = ['a', 'b', 'c'].map((name) => swap(name, `old ${name}`, 'new'))
    const refusal = new Error('does not open')
    let there: string[] = []
    const refuse = (): void => {
      there = ['a', 'b', 'c'].map((name) => readFileSync(join(root, name), 'utf8'))
      throw refusal
    }
    await expect(store.swap(setOf(), swaps, refuse)).rejects.toBe(refusal)
    expect(there).toEqual(['new', 'new', 'new'])
    expect(['a', 'b', 'c'].map((name) => readFileSync(join(root, name), 'utf8'))).toEqual([
      'old a',
      'old b',
      'old c',
    ])
    expect(readdirSync(root)).toEqual(['a', 'b', 'c'])
  })

  it('leaves alone what another program wrote before the old bytes could come back', async () => {
    const root = directoryWith({ a: 'old', b: 'old' })
    const store = await openStore(root, { online })
    const refuse = (): void => {
      writeFileSync(join(root, '.t'), 'by the application')
      execFileSync('mv', [join(root, '.t'), join(root, 'a')])
      throw new Error('does not open')
    }
    await expect(
      store.swap(setOf(), [swap('a', 'old', 'new'), swap('b', 'old', 'new')], refuse),
    ).rejects.toThrow()
    expect(readFileSync(join(root, 'a'), 'utf8')).toBe('by the application')
    expect(readFileSync(join(root, 'b'), 'utf8')).toBe('old')
  })

  it('puts the files of a batch back when a later one cannot be written', async (context) => {
    needsRoot(context)
    needsTool(context, 'chattr')
    const root = directoryWith({ a: 'old', b: 'old' })
    const store = await openStore(root, { online })
    execFileSync('chattr', ['+i', join(root, 'b')])
    try {
      const refusal = await refusalOf(
        store.swap(setOf(), [swap('a', 'old', 'new'), swap('b', 'old', 'new')], accept),
      )
      expect(refusal.code).toBe('IO_ERROR')
    } finally {
      execFileSync('chattr', ['-i', join(root, 'b')])
    }
    expect(readFileSync(join(root, 'a'), 'utf8')).toBe('old')
    expect(readdirSync(root)).toEqual(['a', 'b'])
  })

  it('changes nothing through a link that took the place of a directory', async () => {
    const root = directoryWith({ 'd/a': 'old' })
    const elsewhere = directoryWith({ a: 'old' })
    const store = await openStore(root, { online })
    rmSync(join(root, 'd'), { recursive: true })
    symlinkSync(elsewhere, join(root, 'd'))
    expect((await refusalOf(store.swap(setOf(), [swap('d/a', 'old', 'new')], accept))).code).toBe(
      'STORE_SHAPE',
    )
    expect(readFileSync(join(elsewhere, 'a'), 'utf8')).toBe('old')
  })
})

describe('records that come back', () => {
  it('takes owner, mode and ACL of another file there, and makes the directories like their parent', async (context) => {
    needsRoot(context)
    const root = directoryWith({ 'p/one/a': 'A', 'p/one/b': 'B', 'p/two/c': 'C' })
    for (const name of ['p', 'p/one', 'p/two']) {
      chownSync(join(root, name), 4321, 1234)
      chmodSync(join(root, name), 0o750)
    }
    for (const name of ['p/one/a', 'p/one/b', 'p/two/c']) {
      chownSync(join(root, name), 4321, 1234)
      chmodSync(join(root, name), 0o640)
    }
    execFileSync('setfacl', ['-m', 'g:2345:r', join(root, 'p/one/b')])
    const acl = execFileSync('getfacl', ['-cpn', join(root, 'p/one/b')])
    const store = await openStore(root)
    const records = await store.fetch(setOf(), [['p/one/a'], ['p/one/b'], ['p/two/c']])
    rmSync(join(root, 'p/one/a'))
    rmSync(join(root, 'p/two'), { recursive: true })
    expect(await store.insertMissing(setOf(), records)).toEqual(['inserted', 'present', 'inserted'])
    expect(readFileSync(join(root, 'p/one/a'), 'utf8')).toBe('A')
    expect(readFileSync(join(root, 'p/two/c'), 'utf8')).toBe('C')
    expect(execFileSync('getfacl', ['-cpn', join(root, 'p/one/a')])).toEqual(acl)
    expect(statSync(join(root, 'p/two'))).toMatchObject({ uid: 4321, gid: 1234, mode: 0o40750 })
    expect(statSync(join(root, 'p/two/c'))).toMatchObject({ uid: 4321, gid: 1234, mode: 0o100600 })
    await store.settle()
  })

  it('brings back nothing outside of the pattern', async () => {
    const store = await openStore(directoryWith({ 'in/a': 'A' }), { match: 'in/*' })
    for (const path of ['out/a', '../a', 'in/../../a', '/etc/kvx-test', 'in/sub/a']) {
      const records = [{ id: [path], cells: { path, content: Buffer.from('A') } }]
      expect((await refusalOf(store.insertMissing(setOf(['content'], 'in/*'), records))).code).toBe(
        'STORE_SHAPE',
      )
    }
  })
})

describe('what a killed run left', () => {
  const digest = async (text: string): Promise<string> =>
    Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text)))
      .toString('hex')
      .slice(0, 16)

  it.each([
    ['a half-written new file', '.a.kvx-new', 'ne', 'old', { a: 'old' }],
    ['a new file before its exchange', 'old new', 'new', 'old', { a: 'old' }],
    ['an old file after the exchange', 'old new', 'old', 'new', { a: 'new' }],
    [
      'what another program wrote, displaced',
      'old new',
      'by the application',
      'new',
      { a: 'by the application' },
    ],
  ])('clears away %s, and loses nothing', async (_, name, left, there, wanted) => {
    const [from, to] = name.split(' ')
    const leftover = to === undefined ? name : `.a.${await digest(from ?? '')}-${await digest(to)}.kvx-new`
    const root = directoryWith({ a: there, [leftover]: left })
    const look = await openStore(root)
    await look.inspect(setOf())
    expect(readdirSync(root)).toHaveLength(2) // a look changes nothing
    const store = await openLocked(root)
    await store.inspect(setOf())
    expect(readdirSync(root)).toEqual(Object.keys(wanted))
    expect(readFileSync(join(root, 'a'), 'utf8')).toBe(wanted.a)
  })

  it.each(['still newer', undefined])(
    'keeps both and asks where only a person can tell (%s)',
    async (there) => {
      const leftover = `.a.${await digest('old')}-${await digest('new')}.kvx-new`
      const root = directoryWith({
        ...(there === undefined ? {} : { a: there }),
        [leftover]: 'by the application',
      })
      const before = readdirSync(root)
      const refusal = await refusalOf((await openLocked(root)).inspect(setOf()))
      expect(refusal.code).toBe('LOCKED')
      expect(refusal.message).toContain(leftover)
      expect(readdirSync(root)).toEqual(before)
    },
  )
})

it('holds one page in memory, and ends pages early when their files are large', async () => {
  const large = Buffer.alloc(20 * 1_048_576, 1)
  const store = await openStore(directoryWith({ a: large, b: large, c: large, d: 'x' }))
  const sizes: number[] = []
  for await (const page of store.scan(setOf(), 1000)) sizes.push(page.length)
  expect(sizes).toEqual([2, 2])
})

it('gives thousands of files in the order of their paths', async () => {
  const files = Object.fromEntries(
    Array.from({ length: 3000 }, (_, index) => [`d${index % 10}/f${index}`, 'x']),
  )
  const store = await openStore(directoryWith(files))
  const paths = await pathsIn(store, setOf())
  expect(paths).toEqual(Object.keys(files).sort())
})
