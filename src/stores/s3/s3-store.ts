import { KvxError } from '../../core/errors.ts'
import { fileFormat } from '../directory/file-format.ts'
import { compileGlob, type Glob, globProblem, matchesAll } from '../directory/glob.ts'
import { jsonFormat } from '../directory/json-format.ts'
import type { CatalogueTable, RecordId, RecordSet, Store, StoredRecord, StoreFacts } from '../store.ts'
import { sideBySide } from '../side-by-side.ts'
import { type Bucket, globsOf, headersCell, isUnreachable, keyOf, recordOf, shapeError } from './bucket.ts'
import { openClient, type S3Options } from './client.ts'
import { proveConditions, type Spelling } from './conditions.ts'
import { countOldVersions, listObjects, probeName } from './listing.ts'
import { readObject } from './objects.ts'
import { atOnce, insertMissingObjects, swapObjects } from './writes.ts'

export type S3StoreOptions = S3Options & {
  /** What every key of the store begins with. */
  readonly prefix: string
  /** Which keys below it are the store's. */
  readonly match: string
  readonly format: 'file' | 'json'
}

/** A page ends early when its objects have so many bytes together. */
const pageBytes = 32 * 1_048_576
const groupBytes = 16 * 1_048_576
const sampledObjects = 20

/**
 * Opens a bucket whose objects are records: the id `path` is the key behind the prefix. Nothing is sent yet.
 * @throws STORE_SHAPE for a pattern that is none
 */
export async function openS3Store(options: S3StoreOptions): Promise<Store> {
  const { name, prefix, match, format } = options
  const client = await openClient(options)
  const problem = globProblem(match)
  if (problem !== undefined) throw shapeError(client, `the pattern ${JSON.stringify(match)}: ${problem}`)
  let proven: Promise<Spelling> | undefined
  const bucket: Bucket = {
    client,
    prefix,
    match: compileGlob(match),
    format: format === 'json' ? jsonFormat : fileFormat,
    spelling: async () => (proven ??= proveConditions(client, prefix)),
  }
  return {
    name,
    driver: 's3',
    inspect: async (set) => inspect(bucket, set),
    scan: (set, pageSize) => scanPages(bucket, set, pageSize),
    fetch: async (set, ids) => fetchRecords(bucket, set, ids),
    swap: async (set, swaps, readBack) => swapObjects(bucket, { set, swaps, readBack }),
    catalogue: async () => readCatalogue(bucket),
    insertMissing: async (set, records) => insertMissingObjects(bucket, set, records),
    settle: async () => {}, // what S3 acknowledges is durable
    close: async () => {},
  }
}

type Found = { readonly path: string; readonly size: number }

async function* pathsIn({ client, prefix }: Bucket, globs: readonly Glob[]): AsyncGenerator<Found> {
  for await (const { key, size } of listObjects(client, prefix)) {
    const path = key.slice(prefix.length)
    if (path === '' || path === probeName || !matchesAll(globs, path)) continue
    if (isUnreachable(path))
      throw shapeError(client, 'an object has . or .. as a part of its key, which no address reaches')
    yield { path, size }
  }
}

/** What is read at once: a server's answer takes long, and the memory for a few small objects is nothing. */
async function* groupsOf(found: AsyncIterable<Found>): AsyncGenerator<readonly string[]> {
  let paths: string[] = []
  let bytes = 0
  for await (const { path, size } of found) {
    if (paths.length === atOnce || bytes + size > groupBytes) {
      yield paths
      paths = []
      bytes = 0
    }
    paths.push(path)
    bytes += size
  }
  yield paths
}

async function* scanPages(
  bucket: Bucket,
  set: RecordSet,
  pageSize: number,
): AsyncGenerator<readonly StoredRecord[]> {
  if (!Number.isSafeInteger(pageSize) || pageSize < 1)
    throw new KvxError('BUG', 'a page holds at least one record')
  let page: StoredRecord[] = []
  let bytes = 0
  for await (const paths of groupsOf(pathsIn(bucket, globsOf(bucket, set)))) {
    const objects = await sideBySide(paths, atOnce, async (path) =>
      readObject(bucket.client, `${bucket.prefix}${path}`),
    )
    for (const [index, path] of paths.entries()) {
      const object = objects[index]
      if (object === undefined) continue
      const { id, cells } = recordOf(bucket, set, path, object.bytes)
      page.push({ id, cells })
      bytes += object.bytes.length
      if (page.length < pageSize && bytes < pageBytes) continue
      yield page
      page = []
      bytes = 0
    }
  }
  if (page.length > 0) yield page
}

async function inspect(bucket: Bucket, set: RecordSet): Promise<StoreFacts> {
  let records = 0n
  for await (const _ of pathsIn(bucket, globsOf(bucket, set))) records++
  const { versions, markers } = await countOldVersions(bucket.client, bucket.prefix)
  if (versions + markers === 0) return { records, warnings: [] }
  const message = `the bucket keeps ${versions} older versions and ${markers} delete markers below the prefix: they hold values under old keys, which no run reaches; let them expire before a key is destroyed`
  return { records, warnings: [{ code: 'OLD_VERSIONS', message }] }
}

async function fetchRecords(
  bucket: Bucket,
  set: RecordSet,
  ids: readonly RecordId[],
): Promise<readonly StoredRecord[]> {
  const globs = globsOf(bucket, set)
  const found = await sideBySide(ids, atOnce, async (id) => {
    const key = keyOf(bucket, globs, id)
    const object = key === undefined ? undefined : await readObject(bucket.client, key)
    if (key === undefined || object === undefined) return []
    const path = key.slice(bucket.prefix.length)
    const { cells } = recordOf(bucket, set, path, object.bytes)
    const whole = { [bucket.format.whole]: object.bytes, [headersCell]: JSON.stringify(object.kept) }
    return [{ id, cells: { path, ...cells, ...whole } }]
  })
  return found.flat()
}

async function readCatalogue(bucket: Bucket): Promise<readonly CatalogueTable[]> {
  const { format, match } = bucket
  const members = new Map<string, string>()
  let records = 0n
  for await (const { path } of pathsIn(bucket, [match])) {
    records++
    if (format.membersOf === undefined || records > sampledObjects) continue
    const object = await readObject(bucket.client, `${bucket.prefix}${path}`)
    for (const { column, kind } of object === undefined ? [] : format.membersOf(object.bytes)) {
      const known = members.get(column)
      if (known === undefined || known === 'null') members.set(column, kind)
    }
  }
  const columns =
    format.membersOf === undefined
      ? [{ name: 'content', type: 'bytes' }]
      : [...members].map(([name, type]) => ({ name, type }))
  return [{ table: match.pattern, id: ['path'], columns, records }]
}
