import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { Cell, Cells, RecordSet, Store, StoredRecord } from '../../../src/stores/store.ts'
import { S3Application, type S3Site } from '../../support/s3-application.ts'
import {
  type Application,
  describeStoreContract,
  type StoreUnderTest,
  type TableSpec,
} from '../store-contract.ts'
import { openBucket, type ServerUnderTest } from './fixture.ts'

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

async function setUp(server: ServerUnderTest, table: TableSpec, format: FormatName): Promise<StoreUnderTest> {
  const { site, dispose } = await server.createBucket()
  const application = applicationOf(site, format)
  for (const row of table.rows) await application.insert(row)
  const store = await openBucket(site, { prefix, format })
  return {
    store: underTheNamesOfTheSuite(store, format),
    set: (columns) => ({ table: '**', id: table.id, columns }),
    application,
    dispose: async () => {
      await store.close()
      await dispose()
    },
  }
}

function applicationOf(site: S3Site, format: FormatName): Application {
  const objects = new S3Application(site)
  const keyOf = (id: unknown): string => `${prefix}${String(id)}`
  const put = async (row: Cells): Promise<void> =>
    objects.put(keyOf(row['id']), format === 'file' ? String(row['value']) : JSON.stringify(row))
  const rows = async (): Promise<Cells[]> =>
    Object.entries(await objects.texts()).flatMap(([key, text]) => {
      const id = key.slice(prefix.length)
      if (id === '.kvx-probe') return []
      return [format === 'file' ? { id, value: text } : (JSON.parse(text) as Cells)]
    })
  return {
    rows,
    insert: put,
    update: async (id, change) => put({ ...(await rows()).find((row) => row['id'] === id[0]), ...change }),
    remove: async (id) => objects.remove(keyOf(id[0])),
    startWriter: async () => startWriter(site, format),
    holdWriteLock: async () => {
      throw new Error('objects have no lock against writers')
    },
  }
}

async function startWriter(site: S3Site, format: FormatName): ReturnType<Application['startWriter']> {
  const program = fileURLToPath(new URL('other-program.ts', import.meta.url))
  const child = spawn(process.execPath, [program, site.endpoint, site.bucket, prefix, format])
  onTestFinished(() => void child.kill('SIGKILL'))
  child.stderr.pipe(process.stderr)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const closed = once(child, 'close')
  await lines.next()
  const stop = async (): Promise<ReadonlyMap<string, string>> => {
    child.stdin.end()
    const { value } = await lines.next()
    await closed
    return new Map(Object.entries(JSON.parse(String(value)) as Record<string, string>))
  }
  return { stop }
}

/** Holds the driver to the contract of stores on this server. */
export function describeS3Contract(server: ServerUnderTest, formats: readonly FormatName[]): void {
  const features = { manyColumns: false, freeIds: false, locks: false }
  for (const format of formats) {
    const name = `an S3 store of format ${format} on ${server.name}`
    describeStoreContract(name, async (table) => setUp(server, table, format), features)
  }
}
