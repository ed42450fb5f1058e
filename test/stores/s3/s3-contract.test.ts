import { setTimeout as sleep } from 'node:timers/promises'
import type { Cell, Cells, RecordSet, Store, StoredRecord } from '../../../src/stores/store.ts'
import { S3Server } from '../../support/s3-server.ts'
import { describeStoreContract, type StoreUnderTest, type TableSpec } from '../store-contract.ts'
import { openBucket } from './fixture.ts'

const prefix = 'data/'
type FormatName = 'file' | 'json'

/** The store under the suite's names: the id is the key, `value` the object's bytes or a member of it. */
function underTheNamesOfTheSuite(store: Store, format: FormatName): Store {
  const value = format === 'file' ? 'content' : 'value'
  const set = (given: RecordSet): RecordSet => ({
    ...given,
    id: ['path'],
    columns: given.columns.map(() => value),
  })
  const into = (cells: Cells): Cells =>
    Object.fromEntries(
      Object.values(cells).map((cell) => [
        value,
        format === 'file' && typeof cell === 'string' ? Buffer.from(cell) : cell,
      ]),
    )
  const plain = (cell: Cell): Cell =>
    format === 'file' && cell instanceof Uint8Array ? Buffer.from(cell).toString() : cell
  const from = (record: StoredRecord): StoredRecord => ({
    ...record,
    cells: { value: plain(record.cells[value] ?? null) },
  })
  const fetched = new Map<Cell | undefined, StoredRecord>()
  return {
    ...store,
    inspect: async (given) => store.inspect(set(given)),
    async *scan(given, pageSize) {
      for await (const page of store.scan(set(given), pageSize)) yield page.map(from)
    },
    async fetch(given, ids) {
      const records = await store.fetch(set(given), ids)
      for (const record of records) fetched.set(record.id[0], record)
      return records.map((record) => ({
        ...record,
        cells: { id: record.id[0] ?? null, ...from(record).cells },
      }))
    },
    swap: async (given, swaps, readBack) =>
      store.swap(
        set(given),
        swaps.map((swap) => ({ ...swap, expected: into(swap.expected), change: into(swap.change) })),
        (records) => readBack(records.map(from)),
      ),
    insertMissing: async (given, records) =>
      store.insertMissing(
        set(given),
        records.map((record) => fetched.get(record.id[0]) ?? record),
      ),
  }
}

async function setUp(
  table: TableSpec,
  format: FormatName,
  ifMatch: 'quoted' | 'bare',
): Promise<StoreUnderTest> {
  const server = await new S3Server({ ifMatch, pageSize: 7 }).start()
  const put = (row: Cells): void => {
    server.put(
      `${prefix}${String(row['id'])}`,
      format === 'file' ? String(row['value']) : JSON.stringify(row),
    )
  }
  const rows = (): { id: string; value: string }[] =>
    [...server.objects].flatMap(([key, { bytes }]) => {
      const id = key.slice(prefix.length)
      if (id === '.kvx-probe') return []
      const text = bytes.toString()
      return [{ id, value: format === 'file' ? text : (JSON.parse(text) as { value: string }).value }]
    })
  for (const row of table.rows) put(row)
  const store = await openBucket(server, { prefix, format })
  return {
    store: underTheNamesOfTheSuite(store, format),
    set: (columns) => ({ table: '**', id: table.id, columns }),
    application: {
      rows: async () => rows(),
      insert: async (row) => put(row),
      update: async (id, change) => put({ ...rows().find((row) => row.id === id[0]), ...change }),
      remove: async (id) => server.remove(`${prefix}${String(id[0])}`),
      // The server lies in this process, and what it gets from outside it gets between two requests of the store.
      startWriter: async () => {
        const written = new Map<string, string>()
        const ids = rows().map(({ id }) => id)
        let isOver = false
        const work = async (): Promise<void> => {
          for (let count = 0; !isOver; count++) {
            const id = ids[Math.floor(Math.random() * ids.length)] ?? ''
            put({ id, value: `application ${count}` })
            written.set(id, `application ${count}`)
            await sleep(4)
          }
        }
        const done = work()
        const stop = async (): Promise<ReadonlyMap<string, string>> => {
          isOver = true
          await done
          return written
        }
        return { stop }
      },
      holdWriteLock: async () => {
        throw new Error('objects have no lock against writers')
      },
    },
    dispose: async () => {
      await store.close()
      await server.stop()
    },
  }
}

const features = { manyColumns: false, freeIds: false, locks: false }
const kinds = [
  ['file', 'quoted'],
  ['file', 'bare'],
  ['json', 'quoted'],
] as const
for (const [format, ifMatch] of kinds) {
  describeStoreContract(
    `an S3 store of format ${format}, on a server that wants the ETag ${ifMatch},`,
    async (table) => await setUp(table, format, ifMatch),
    features,
  )
}
