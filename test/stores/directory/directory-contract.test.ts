import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openDirectoryStore } from '../../../src/stores/directory/directory-store.ts'
import type { Cell, Cells, RecordId, RecordSet, Store, StoredRecord } from '../../../src/stores/store.ts'
import { describeStoreContract, type StoreUnderTest, type TableSpec } from '../store-contract.ts'
import { FileApplication, type FormatName, padded, suiteRecordBytes, unpadded } from './application.ts'
import { startOther } from './fixture.ts'

/** How the suite's columns `id` and `value` are called in a format. */
type Names = { readonly id: string; readonly value: string }

const names: Readonly<Record<FormatName, Names>> = {
  file: { id: 'path', value: 'content' },
  json: { id: 'path', value: 'value' },
  jsonl: { id: 'id', value: 'value' },
  records: { id: 'path', value: 'content' },
}

function toStore(cell: Cell, format: FormatName): Cell {
  if (typeof cell !== 'string') return cell
  if (format === 'records') return padded(cell)
  return format === 'file' ? Buffer.from(cell) : cell
}

function fromStore(cell: Cell, format: FormatName): Cell {
  if (!(cell instanceof Uint8Array)) return cell
  if (format === 'records') return unpadded(cell)
  return format === 'file' ? Buffer.from(cell).toString() : cell
}

/** The store under the suite's names: a record is `{ id, value }` with texts, and nothing else is fetched. */
function underTheNamesOfTheSuite(store: Store, format: FormatName): Store {
  const { id, value } = names[format]
  const isNumbered = format === 'records'
  const set = (given: RecordSet): RecordSet => ({
    ...given,
    id: isNumbered ? [id, 'index'] : [id],
    columns: given.columns.map(() => value),
  })
  const numbered = (given: RecordId): RecordId => (isNumbered ? [...given, 0n] : given)
  const into = (cells: Cells): Cells =>
    Object.fromEntries(Object.values(cells).map((cell) => [value, toStore(cell, format)]))
  const from = (record: StoredRecord): StoredRecord => ({
    id: record.id.slice(0, 1),
    cells: { value: fromStore(record.cells[value] ?? null, format) },
  })
  const fetched = new Map<Cell | undefined, StoredRecord>()
  return {
    ...store,
    inspect: async (given) => store.inspect(set(given)),
    async *scan(given, pageSize) {
      for await (const page of store.scan(set(given), pageSize)) yield page.map(from)
    },
    async fetch(given, ids) {
      const records = await store.fetch(set(given), ids.map(numbered))
      for (const record of records) fetched.set(record.id[0], record)
      return records.map((record) => ({
        id: from(record).id,
        cells: { id: record.id[0] ?? null, ...from(record).cells },
      }))
    },
    swap: async (given, swaps, readBack) =>
      store.swap(
        set(given),
        swaps.map((swap) => ({
          ...swap,
          id: numbered(swap.id),
          expected: into(swap.expected),
          change: into(swap.change),
        })),
        (records) => readBack(records.map(from)),
      ),
    insertMissing: async (given, records) =>
      store.insertMissing(
        set(given),
        records.map((record) => fetched.get(record.id[0]) ?? record),
      ),
  }
}

async function setUp(table: TableSpec, format: FormatName, online?: 'exchange'): Promise<StoreUnderTest> {
  const directory = mkdtempSync('/var/tmp/kvx-contract-')
  if (format === 'jsonl') writeFileSync(join(directory, 'records.jsonl'), '')
  const application = new FileApplication(directory, format)
  for (const row of table.rows) application.insert(row)
  const match = format === 'jsonl' ? 'records.jsonl' : '*'
  const sizes = { recordSize: suiteRecordBytes, headerSize: 0 }
  const store = await openDirectoryStore({ name: 'docs', path: directory, match, format, sizes, online })
  return {
    store: underTheNamesOfTheSuite(store, format),
    set: (columns) => ({ table: match, id: table.id, columns }),
    application: {
      rows: async () => application.rows(),
      insert: async (row) => application.insert(row),
      update: async (id, change) => application.update(String(id[0]), change),
      remove: async (id) => application.remove(String(id[0])),
      startWriter: async () => {
        const writer = startOther('write', directory, format)
        await writer.next()
        const stop = async (): Promise<ReadonlyMap<string, string>> => {
          writer.child.stdin.end()
          const written = (await writer.next()) as Record<string, string>
          await writer.end()
          return new Map(Object.entries(written))
        }
        return { stop }
      },
      holdWriteLock: async () => {
        throw new Error('files have no lock against writers')
      },
    },
    dispose: async () => {
      await store.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

const features = { manyColumns: false, freeIds: false, locks: false }

for (const format of ['file', 'json', 'jsonl'] as const) {
  describeStoreContract(
    `a directory store of format ${format}, online by exchange,`,
    async (table) => await setUp(table, format, 'exchange'),
    features,
  )
}

describeStoreContract(
  'a directory store of format records, online by exchange,',
  async (table) => await setUp(table, 'records', 'exchange'),
  { ...features, freeLengths: false },
)

describeStoreContract(
  'a directory store of format records, streamed,',
  async (table) => await setUp(table, 'records'),
  { ...features, freeLengths: false, others: false },
)
