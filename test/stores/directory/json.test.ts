import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Cell, Cells, RecordSet, Store } from '../../../src/stores/store.ts'
import { directoryWith, openStore, putFiles, readAll, refusalOf, setOf } from './fixture.ts'

const accept = (): void => {}

const metadata = `{
  "projectId" : "p-1",
\t"encryptedDEK":"c2VhbGVk\\/x==",  "environmentVariables": {
    "API_URL": {"type":"plain","value":"https:\\/\\/example.com"},
    "DATABASE_URL": {"type":"secret","encrypted":true,"value":"b2xk","keyVersion":1},
    "a.b/c~d": { "value": "é\\u00e9 \\ud83d\\udd11" }
  },
  "big": 9007199254740993, "real": 1.50, "gone": null, "list": [1, {"x": 2}]
}
`

async function jsonStore(
  files: Readonly<Record<string, string>>,
  online?: 'exchange',
): Promise<[Store, string]> {
  const root = directoryWith(files)
  return [await openStore(root, { format: 'json', online }), root]
}

async function cellsOf(store: Store, columns: readonly string[], set = setOf(columns)): Promise<Cells> {
  return (await readAll(store, set))[0]?.cells ?? {}
}

async function change(store: Store, set: RecordSet, cells: Cells): Promise<readonly string[]> {
  const swaps = (await readAll(store, set)).map((record) => ({
    id: record.id,
    expected: record.cells,
    change: cells,
  }))
  return store.swap(set, swaps, accept)
}

describe('members of a document as columns', () => {
  it.each<[string, Cell]>([
    ['projectId', 'p-1'],
    ['encryptedDEK', 'c2VhbGVk/x=='],
    ['environmentVariables.DATABASE_URL.value', 'b2xk'],
    ['/environmentVariables/DATABASE_URL/keyVersion', 1n],
    ['/environmentVariables/a.b~1c~0d/value', 'éé 🔑'],
    ['big', 9007199254740993n],
    ['real', 1.5],
    ['gone', null],
    ['missing', null],
    ['missing.below', null],
    ['gone.below', null],
    ['list', Buffer.from('[1, {"x": 2}]')],
    ['environmentVariables.DATABASE_URL.encrypted', Buffer.from('true')],
    ['path', 'd/m.json'],
  ])('reads %s', async (column, cell) => {
    const [store] = await jsonStore({ 'd/m.json': metadata })
    expect((await cellsOf(store, [column]))[column]).toEqual(cell)
  })

  it.each(['exchange', undefined] as const)(
    'rewrites the members that change and no other byte, online %s',
    async (online) => {
      const [store, root] = await jsonStore({ 'm.json': metadata }, online)
      const set = setOf(['encryptedDEK', 'environmentVariables.DATABASE_URL.keyVersion', 'projectId', 'list'])
      const cells = {
        encryptedDEK: 'bmV3/y==',
        'environmentVariables.DATABASE_URL.keyVersion': 12n,
        projectId: 'p-1',
        list: Buffer.from('{"ct":"x"}'),
      }
      expect(await change(store, set, cells)).toEqual(['changed'])
      const expected = metadata
        .replace('c2VhbGVk\\/x==', 'bmV3\\/y==')
        .replace('"keyVersion":1}', '"keyVersion":12}')
        .replace('[1, {"x": 2}]', '{"ct":"x"}')
      expect(readFileSync(join(root, 'm.json'), 'utf8')).toBe(expected)
    },
  )

  it('keeps every other byte of any document, and gives back the old document when the old cells return', async () => {
    const [store, root] = await jsonStore({})
    const text = fc.string({ unit: 'grapheme' })
    const document = fc.record({ before: fc.jsonValue(), sealed: text, after: fc.jsonValue() })
    await fc.assert(
      fc.asyncProperty(document, text, fc.integer({ min: 0, max: 4 }), async (made, next, indent) => {
        const old = JSON.stringify(made, null, indent)
        putFiles(root, { 'x.json': old })
        expect(await change(store, setOf(['sealed']), { sealed: next })).toEqual(['changed'])
        const written = readFileSync(join(root, 'x.json'), 'utf8')
        expect(JSON.parse(written)).toEqual(JSON.parse(JSON.stringify({ ...made, sealed: next })))
        expect(written).toBe(JSON.stringify({ ...made, sealed: next }, null, indent))
        await change(store, setOf(['sealed']), { sealed: made.sealed })
        expect(readFileSync(join(root, 'x.json'), 'utf8')).toBe(old)
      }),
      { numRuns: 25 },
    )
  }, 120_000)

  it('compares every column that was used, also one that does not change, exact in kind', async () => {
    const columns = ['encryptedDEK', 'projectId', 'gone', 'big', 'list']
    const [store, root] = await jsonStore({ 'm.json': metadata })
    const now = await cellsOf(store, columns)
    for (const differs of [
      { projectId: 'p-2' },
      { gone: 'null' },
      { big: 9007199254740992n },
      { list: '[1, {"x": 2}]' },
    ]) {
      const swap = { id: ['m.json'], expected: { ...now, ...differs }, change: { encryptedDEK: 'x' } }
      expect(await store.swap(setOf(columns), [swap], accept)).toEqual(['lost'])
    }
    expect(readFileSync(join(root, 'm.json'), 'utf8')).toBe(metadata)
  })

  it('refuses to write a member that is missing, or bytes that are not JSON, and writes nothing', async () => {
    const [store, root] = await jsonStore({ 'm.json': metadata })
    expect((await refusalOf(change(store, setOf(['version']), { version: 2n }))).message).toContain(
      'member version is missing',
    )
    expect((await refusalOf(change(store, setOf(['list']), { list: Buffer.from('{') }))).code).toBe(
      'STORE_SHAPE',
    )
    expect(readFileSync(join(root, 'm.json'), 'utf8')).toBe(metadata)
  })

  it('brings a deleted document back to the byte, with the columns that a run used', async () => {
    const [store, root] = await jsonStore({ 'm.json': metadata })
    const set = setOf(['encryptedDEK'])
    const [record] = await store.fetch(set, [['m.json']])
    if (record === undefined) throw new Error('nothing was fetched')
    rmSync(join(root, 'm.json'))
    expect(await store.insertMissing(set, [record])).toEqual(['inserted'])
    expect(readFileSync(join(root, 'm.json'), 'utf8')).toBe(metadata)
    rmSync(join(root, 'm.json'))
    await store.insertMissing(set, [{ ...record, cells: { ...record.cells, encryptedDEK: 'later' } }])
    expect(readFileSync(join(root, 'm.json'), 'utf8')).toBe(metadata.replace('c2VhbGVk\\/x==', 'later'))
  })
})

describe('documents that are refused, with file and offset', () => {
  it.each([
    ['a trailing comma', '{"a": "x",}', 10],
    ['two documents', '{"a": "x"}\n{"a": "y"}', 11],
    ['a member that occurs twice', '{"a": "x", "a": "y"}', 11],
    ['one that occurs twice deep inside', '{"a": "x", "b": {"c": 1, "c": 2}}', 25],
    ['a byte order mark', '\ufeff{"a": "x"}', 0],
    ['an array', '[{"a": "x"}]', 0],
    ['an empty file', '', 0],
    ['a document that ends too early', '{"a": "x"', 9],
    ['a way into a string', '{"a": "x", "deep": "no object"}', 19],
    ['single quotes', "{'a': 'x'}", 1],
  ])('refuses %s', async (_, text, offset) => {
    const [store] = await jsonStore({ 'sub/good.json': '{"a": "SECRET"}', 'sub/x.json': text })
    const refusal = await refusalOf(store.inspect(setOf(['a', 'deep.er'])))
    expect(refusal).toMatchObject({ code: 'STORE_SHAPE', exit: 2 })
    expect(refusal.message).toContain(`sub/x.json at offset ${offset}: `)
    expect(refusal.message + String(refusal.hint)).not.toMatch(/SECRET/)
  })

  it('refuses text that is not UTF-8', async () => {
    const root = directoryWith({ 'x.json': Buffer.from('{"a":"\xff"}', 'latin1') })
    const refusal = await refusalOf((await openStore(root, { format: 'json' })).inspect(setOf(['a'])))
    expect(refusal.message).toContain('not UTF-8')
  })

  it.each(['a..b', '.a', '$', '/a~2'])('refuses the column %s', async (column) => {
    const [store] = await jsonStore({ 'x.json': '{}' })
    expect((await refusalOf(store.inspect(setOf([column])))).code).toBe('STORE_SHAPE')
  })
})

describe('lines of a file as records', () => {
  const lines = ['{"id":"a","v":"1"}', '', '{ "id" : "b", "v":"2" }\r', '{"id":"c","v":null,"n":3}']
  const open = async (
    text: string,
    id: readonly string[],
    table = 'x.jsonl',
  ): Promise<[Store, RecordSet, string]> => {
    const root = directoryWith({ 'x.jsonl': text })
    return [await openStore(root, { format: 'jsonl', match: table }), { table, id, columns: ['v'] }, root]
  }

  it('names them by a member, by their line, and by their file where there are several', async () => {
    const [one, byId] = await open(lines.join('\n'), ['id'])
    expect((await readAll(one, byId)).map(({ id }) => id)).toEqual([['a'], ['b'], ['c']])
    expect((await one.inspect(byId)).records).toBe(3n)
    const [several, byLine, root] = await open(lines.join('\n'), ['path', 'line'], '*.jsonl')
    putFiles(root, { 'y.jsonl': '{"v":"9"}\n' })
    expect((await readAll(several, byLine)).map(({ id }) => id)).toEqual([
      ['x.jsonl', 1n],
      ['x.jsonl', 3n],
      ['x.jsonl', 4n],
      ['y.jsonl', 1n],
    ])
  })

  it('touches only the lines that change', async () => {
    const [store, set, root] = await open(lines.join('\n'), ['id'])
    const swaps = ['c', 'a', 'b', 'z'].map((id) => ({
      id: [id],
      expected: { v: id === 'a' ? '1' : '2' },
      change: { v: `new ${id}` },
    }))
    let seen: unknown
    const outcomes = await store.swap(set, swaps, (records) => {
      seen = records.map(({ id, cells }) => [id[0], cells['v']])
    })
    expect(outcomes).toEqual(['lost', 'changed', 'changed', 'gone'])
    expect(seen).toEqual([
      ['a', 'new a'],
      ['b', 'new b'],
    ])
    expect(readFileSync(join(root, 'x.jsonl'), 'utf8')).toBe(
      ['{"id":"a","v":"new a"}', '', '{ "id" : "b", "v":"new b" }\r', lines[3]].join('\n'),
    )
  })

  it('appends a line that is gone, and makes the file where it is missing', async () => {
    const [store, set, root] = await open(lines.join('\n'), ['id'])
    const records = await store.fetch(set, [['a'], ['b'], ['c']])
    putFiles(root, { 'x.jsonl': lines[3] ?? '' })
    expect(await store.insertMissing(set, records)).toEqual(['inserted', 'inserted', 'present'])
    expect(readFileSync(join(root, 'x.jsonl'), 'utf8')).toBe(`${lines[3]}\n${lines[0]}\n${lines[2]}\n`)
    rmSync(join(root, 'x.jsonl'))
    expect(await store.insertMissing(set, records.slice(0, 1))).toEqual(['inserted'])
    expect(readFileSync(join(root, 'x.jsonl'), 'utf8')).toBe(`${lines[0]}\n`)
  })

  it('brings no line back by its number alone', async () => {
    const [store, set, root] = await open(lines.join('\n'), ['line'])
    const records = await store.fetch(set, [[4n]])
    putFiles(root, { 'x.jsonl': lines[0] ?? '' })
    expect((await refusalOf(store.insertMissing(set, records))).code).toBe('STORE_SHAPE')
    expect(readFileSync(join(root, 'x.jsonl'), 'utf8')).toBe(lines[0])
  })

  it.each([
    ['an id that stands twice', '{"id":"a","v":"1"}\n{"id":"a","v":"2"}', 19],
    ['an id that is missing', '{"id":"a","v":"1"}\n{"v":"2"}', 19],
    ['an id that is null', '{"id":null,"v":"1"}', 6],
    ['an id beyond 2^53', '{"id":9007199254740993,"v":"1"}', 6],
    ['an id that is no integer', '{"id":1.5,"v":"1"}', 6],
    ['an id that is an object', '{"id":{},"v":"1"}', 6],
    ['two documents in a line', '{"id":"a"} {"id":"b"}', 11],
    ['a trailing comma in the second line', '{"id":"a"}\n{"id":"b",}\n', 21],
    ['a document over two lines', '{"id":"a",\n"v":"1"}', 10],
    ['a line that is no object', '{"id":"a"}\n7\n', 11],
  ])('refuses %s', async (_, text, offset) => {
    const [store, set] = await open(text, ['id'])
    const refusal = await refusalOf(store.inspect(set))
    expect(refusal.code).toBe('STORE_SHAPE')
    expect(refusal.message).toContain(`x.jsonl at offset ${offset}: `)
  })

  it('takes integers up to 2^53 and text with the same digits for different ids', async () => {
    const [store, set] = await open('{"id":9007199254740991,"v":"1"}\n{"id":"9007199254740991","v":"2"}', [
      'id',
    ])
    expect((await readAll(store, set)).map(({ id }) => id[0])).toEqual([
      9007199254740991n,
      '9007199254740991',
    ])
    const found = await store.fetch(set, [['9007199254740991']])
    expect(found.map(({ cells }) => cells['v'])).toEqual(['2'])
  })

  it.each([
    [['id'], '*.jsonl', 'needs path'],
    [['path'], '*.jsonl', 'not one of its lines'],
    [['path'], 'x.jsonl', 'not one of its lines'],
  ])('refuses the id %j with the pattern %s', async (id, table, message) => {
    const [store, set] = await open('{"id":"a","v":"1"}', id, table)
    expect((await refusalOf(store.inspect(set))).message).toContain(message)
  })
})
