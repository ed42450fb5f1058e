import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { isKvxError, KvxError } from '../../core/errors.ts'
import { recoverLeftover } from '../../platform/exchange-file.ts'
import { fileError, quotedPath } from '../../platform/file-errors.ts'
import { fsyncAfterChange, lstatFacts } from '../../platform/files.ts'
import type { Cells, RecordId, RecordSet, Store, StoredRecord } from '../store.ts'
import { type Body, openBody, withBody } from './body.ts'
import { readCatalogue } from './catalogue.ts'
import { type DirectoryTarget, describeTarget, shapeError } from './directory-errors.ts'
import { fileFormat } from './file-format.ts'
import { type FileRecord, idKey, type RecordFormat } from './format.ts'
import { HeldFolders } from './held-folders.ts'
import { fixedRecords, type RecordSizes } from './fixed-records.ts'
import { compileGlob, globProblem } from './glob.ts'
import { insertMissingRecords } from './insert.ts'
import { inspectRecords } from './inspect.ts'
import { jsonFormat, jsonLinesFormat } from './json-format.ts'
import { type Directory, FileReader, pathOf, requireRecordFile, requireSet } from './record-files.ts'
import { swapRecords } from './swap.ts'
import { type Found, maxFileBytes, walk } from './walk.ts'

export type DirectoryStoreOptions = {
  readonly name: string
  /** The directory; symbolic links to it are followed, none below it. */
  readonly path: string
  /** Which files below it are the store's. */
  readonly match: string
  readonly format: 'file' | 'json' | 'jsonl' | 'records'
  /** Of `records`: the size of each, and of what lies before the first one. */
  readonly sizes?: RecordSizes | undefined
  /** Other programs replace files by `rename` meanwhile. Without it they are stopped while kvx writes. */
  readonly online?: 'exchange' | undefined
}

function formatOf({ format, sizes }: DirectoryStoreOptions): RecordFormat {
  if (format === 'json') return jsonFormat
  if (format === 'jsonl') return jsonLinesFormat
  if (format === 'file') return fileFormat
  if (sizes === undefined) throw new KvxError('BUG', 'records have a size')
  return fixedRecords(sizes)
}

/** A page ends early when its files have so many bytes together. */
const pageBytes = 32 * 1_048_576

/**
 * Opens a directory whose files are records. `swap`, `insertMissing` and the clearing away of what a killed run
 * left are for the holder of the directory's lock (`lockDirectoryOf`).
 * @throws FILE_NOT_FOUND; STORE_SHAPE for a pattern that is none, and what is no directory; IO_ERROR
 */
export async function openDirectoryStore(options: DirectoryStoreOptions): Promise<Store> {
  const { name, match } = options
  const target = { name, path: await findDirectory(options) }
  const problem = globProblem(match)
  if (problem !== undefined) {
    const hint = 'write it from the directory of the store on, for example `match: "projects/*/docs/**"`'
    throw shapeError(target, `the pattern ${JSON.stringify(match)}: ${problem}`, { hint })
  }
  const isOnline = options.online === 'exchange'
  const directory: Directory = {
    target,
    match: compileGlob(match),
    format: formatOf(options),
    isOnline,
    // An exchange compares the displaced file whole.
    isStreamed: options.format === 'records' && !isOnline,
    touched: new Set(),
    folders: new HeldFolders(target),
  }
  let cleared: Promise<void> | undefined
  const ready = async (): Promise<Directory> => {
    await (cleared ??= clearLeftovers(directory))
    return directory
  }
  return {
    name,
    driver: 'directory',
    inspect: async (set) => inspectRecords(await ready(), set),
    scan: (set, pageSize) => scanPages(ready, set, pageSize),
    fetch: async (set, ids) => fetchRecords(await ready(), set, ids),
    wholeOf: (set, record) => wholeOf(directory, set, record),
    swap: async (set, swaps, readBack) => swapRecords(await ready(), { set, swaps, readBack }),
    catalogue: async () => readCatalogue(await ready()),
    insertMissing: async (set, records) => insertMissingRecords(await ready(), set, records),
    settle: async () => settle(directory),
    close: async () => {},
  }
}

async function findDirectory({ name, path }: DirectoryStoreOptions): Promise<string> {
  const given = describeTarget({ name, path })
  const real = await realpath(path).catch((error: unknown) => {
    const { code, hint } = fileError(error, 'open', path)
    const what = code === 'FILE_NOT_FOUND' ? 'no such directory' : 'cannot be reached'
    throw new KvxError(code, `${given}: ${what}`, {
      hint: hint ?? `look with \`ls -ld ${quotedPath(path)}\`; the path of the store stands in kvx.yaml`,
    })
  })
  const facts = await lstatFacts(real)
  if (facts?.type !== 'directory') {
    const hint = `look with \`ls -ld ${quotedPath(real)}\`; the path of the store stands in kvx.yaml`
    throw shapeError({ name, path: real }, 'is not a directory', { hint })
  }
  return real
}

/** Ends what a killed run began. Only a run does it, which holds the lock: a look changes nothing. */
async function clearLeftovers(directory: Directory): Promise<void> {
  const { target, match, folders } = directory
  if (!(await holdsLock(target))) return
  for await (const some of walk(target, [match]))
    for (const { kind, path } of some)
      if (kind === 'leftover')
        await folders.within(path, async (reached) => recoverLeftover(reached, maxFileBytes))
}

/**
 * Whether this very process carries the lock of the directory: a lock shows in `fdinfo` of the descriptor that
 * carries it (proc_pid_fdinfo(5)).
 */
async function holdsLock({ path }: DirectoryTarget): Promise<boolean> {
  const wanted = await lstatFacts(path)
  for (const descriptor of await readdir('/proc/self/fdinfo')) {
    const info = await readFile(`/proc/self/fdinfo/${descriptor}`, 'latin1').catch(() => '')
    if (!/^lock:\s.*\bFLOCK\b/m.test(info)) continue
    const found = await stat(`/proc/self/fd/${descriptor}`, { bigint: true }).catch(() => undefined)
    if (found !== undefined && found.dev === wanted?.dev && found.ino === wanted.ino) return true
  }
  return false
}

async function* scanPages(
  ready: () => Promise<Directory>,
  set: RecordSet,
  pageSize: number,
): AsyncGenerator<readonly StoredRecord[]> {
  if (!Number.isSafeInteger(pageSize) || pageSize < 1)
    throw new KvxError('BUG', 'a page holds at least one record')
  const directory = await ready()
  const globs = requireSet(directory, set)
  const page = new Page(pageSize)
  for await (const found of walk(directory.target, globs)) {
    yield* directory.isStreamed
      ? streamedPages(directory, set, { found, page })
      : wholePages(directory, set, { found, page })
  }
  if (page.length > 0) yield page.take()
}

type Reading = { readonly found: readonly Found[]; readonly page: Page }

/** Files that are read whole, without a stop between two of them. */
function* wholePages(
  directory: Directory,
  set: RecordSet,
  { found, page }: Reading,
): Generator<readonly StoredRecord[]> {
  const { format, target } = directory
  const reader = new FileReader(directory)
  try {
    for (const { kind, path } of found) {
      if (kind !== 'file') continue
      const read = reader.read(path, (facts) => requireRecordFile(directory, path, facts))
      if (read === undefined) continue
      for (const record of format.records({ target, path, bytes: read.bytes }, set)) {
        if (!page.add(record)) continue
        reader.release()
        yield page.take()
      }
    }
  } finally {
    reader.release()
  }
}

async function* streamedPages(
  directory: Directory,
  set: RecordSet,
  { found, page }: Reading,
): AsyncGenerator<readonly StoredRecord[]> {
  for (const { kind, path } of found) {
    if (kind !== 'file') continue
    const body = await openBody(directory, path)
    if (body === undefined) continue
    try {
      requireRecordFile(directory, path, body.facts)
      for await (const record of body.records(set)) if (page.add(record)) yield page.take()
    } finally {
      await body.close()
    }
  }
}

class Page {
  readonly #size: number
  #records: StoredRecord[] = []
  #bytes = 0

  constructor(size: number) {
    this.#size = size
  }

  get length(): number {
    return this.#records.length
  }

  /** @returns whether it is full */
  add({ id, cells, start, end }: FileRecord): boolean {
    this.#records.push({ id, cells })
    this.#bytes += end - start
    return this.#records.length >= this.#size || this.#bytes >= pageBytes
  }

  take(): readonly StoredRecord[] {
    const records = this.#records
    this.#records = []
    this.#bytes = 0
    return records
  }
}

/** Whole records: id and columns by name, and the record's own bytes. */
async function fetchRecords(
  directory: Directory,
  set: RecordSet,
  ids: readonly RecordId[],
): Promise<readonly StoredRecord[]> {
  const globs = requireSet(directory, set)
  const wanted = Map.groupBy(ids, (id) => pathOf(set, id, globs))
  const found = new Map<string, StoredRecord>()
  const reader = new FileReader(directory)
  const keep = async (body: Body | undefined, idsThere: readonly RecordId[]): Promise<void> => {
    const there = (await body?.find(set, idsThere)) ?? new Map<string, FileRecord>()
    for (const [key, { id, cells, start, end }] of there) {
      const whole = { [directory.format.whole]: (await body?.slice(start, end)) ?? null }
      found.set(key, { id, cells: { ...namesOf(set, id), ...cells, ...whole } })
    }
  }
  try {
    for (const [path, idsThere] of wanted) {
      if (path !== undefined) await withBody(directory, path, async (body) => keep(body, idsThere), reader)
    }
  } finally {
    reader.release()
  }
  return ids.flatMap((id) => found.get(idKey(id)) ?? [])
}

function namesOf(set: RecordSet, id: RecordId): Cells {
  return Object.fromEntries(set.id.map((column, index) => [column, id[index] ?? null]))
}

/** Of a file that is one value: what was looked at is all that there is. */
function wholeOf(
  { format }: Directory,
  set: RecordSet,
  { id, cells }: StoredRecord,
): StoredRecord | undefined {
  return format.isOpaque && set.columns.includes(format.whole)
    ? { id, cells: { ...namesOf(set, id), ...cells } }
    : undefined
}

/** Writes every directory in which names changed once more; each replacement did it by itself already. */
async function settle({ target, touched }: Directory): Promise<void> {
  for (const path of touched) {
    try {
      await fsyncAfterChange(path, `${describeTarget(target)} is changed`)
    } catch (error) {
      if ((await lstatFacts(path)) !== undefined || !isKvxError(error)) throw error
    }
  }
  touched.clear()
}
