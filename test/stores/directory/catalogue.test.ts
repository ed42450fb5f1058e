import { expect, it } from 'vitest'
import type { DirectoryStoreOptions } from '../../../src/stores/directory/directory-store.ts'
import type { CatalogueTable } from '../../../src/stores/store.ts'
import { directoryWith, type Files, openStore, readAll } from './fixture.ts'

async function catalogueOf(
  files: Files,
  options: Partial<DirectoryStoreOptions>,
): Promise<readonly CatalogueTable[]> {
  const store = await openStore(directoryWith(files), options)
  const tables = await store.catalogue()
  for (const { table, id, columns } of tables) {
    // What it names can be read.
    const set = { table, id: id ?? [], columns: columns.map(({ name }) => name) }
    expect((await readAll(store, set)).length).toBeGreaterThan(0)
  }
  return tables
}

const content = [{ name: 'content', type: 'bytes' }]

it('names the pattern of whole files and of fixed-size records', async () => {
  const files = { 'a/1': 'x', 'a/2': 'y', b: 'z' }
  expect(await catalogueOf(files, { match: 'a/*' })).toEqual([
    { table: 'a/*', id: ['path'], columns: content, records: 2n },
  ])
  const sizes = { recordSize: 1, headerSize: 0 }
  expect(await catalogueOf(files, { match: 'a/*', format: 'records', sizes })).toEqual([
    { table: 'a/*', id: ['path', 'index'], columns: content, records: undefined },
  ])
})

it('names the members of documents by dotted paths, or by pointers where a name has a dot', async () => {
  const files = {
    '1.json': '{"id": 1, "a": {"b": "x", "c.d": "y", "list": ["z"]}, "path": "p", "on": true, "late": null}',
    '2.json': '{"late": "now", "more": {"": "e", "x/y~z": "s"}}',
  }
  const [table] = await catalogueOf(files, { match: '*.json', format: 'json' })
  expect([table?.id, table?.records]).toEqual([['path'], 2n])
  expect(Object.fromEntries(table?.columns.map(({ name, type }) => [name, type]) ?? [])).toEqual({
    id: 'number',
    a: 'object',
    'a.b': 'text',
    '/a/c.d': 'text',
    '/path': 'text',
    on: 'truth',
    late: 'text',
    more: 'object',
    '/more/': 'text',
    '/more/x~1y~0z': 'text',
  })
})

it.each([
  ['{"id":"a","v":1}\n{"id":"b","v":1}\n', '*.jsonl', ['path', 'id']],
  ['{"id":"a","v":1}\n{"id":"a","v":1}\n', '*.jsonl', ['path', 'line']],
  ['{"id":"a","v":1}\n{"v":1}\n', 'x.jsonl', ['line']],
  ['{"_id":{"$oid":"1"},"id":"a"}\n{"_id":{"$oid":"2"},"id":"a"}\n', 'x.jsonl', ['_id.$oid']],
])('names lines by a member that is unique in the sample: %j', async (text, match, id) => {
  const [table] = await catalogueOf({ 'x.jsonl': text }, { match, format: 'jsonl' })
  expect(table?.id).toEqual(id)
})
