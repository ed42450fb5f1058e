import { closeSync, fsyncSync, openSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isKvxError, KvxError } from '../../core/errors.ts'
import type { Cell, RecordId, RecordSet, Store, StoredRecord, StoreFacts } from '../store.ts'
import { type Database, openDatabase, type Row } from './database.ts'
import { inspectRecords } from './inspect.ts'
import { describeTarget, shapeError, shellWord, type SqliteTarget } from './sqlite-errors.ts'
import { readTable, shown, type Table } from './schema.ts'
import { cellsPerSelected, selectedCell, selectedCells } from './selected.ts'
import {
  both,
  type Condition,
  type Cursor,
  cursorCellsPerColumn,
  matchesCells,
  matchesId,
  selectById,
  selectPage,
  selectWhole,
} from './statements.ts'
import { readCatalogue } from './catalogue.ts'
import { insertMissingRecords, swapRecords, swapTogether } from './writes.ts'

export type SqliteStoreOptions = {
  readonly name: string
  /** The database file; symbolic links are followed. */
  readonly path: string
  /** How long a call waits for another writer before it throws LOCKED; 5000 unless told. */
  readonly busyMs?: number
}

/**
 * Opens an existing SQLite database. The journal mode stays the application's; a hot journal is rolled back by
 * SQLite before anything is read. The database file itself is only ever opened by SQLite: closing another
 * descriptor of it in this process would drop SQLite's POSIX locks without a sign.
 * @throws FILE_NOT_FOUND; STORE_SHAPE when it is not a database; LOCKED, IO_ERROR, DURABILITY_UNKNOWN
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { target, links } = findFile(options)
  const database = openDatabase(target, options.busyMs ?? 5000)
  let closed = false
  return {
    name: options.name,
    driver: 'sqlite',
    overlaps: true,
    inspect: async (set) => withLinkWarning(inspectRecords(database, set), target, links),
    scan: (set, pageSize) => scanPages(database, set, pageSize),
    fetch: async (set, ids) => database.transaction('DEFERRED', () => fetchRecords(database, set, ids)),
    swap: async (set, swaps, readBack) => swapRecords(database, { set, swaps, readBack }),
    swapTogether: async (batches, readBack) => swapTogether(database, batches, readBack),
    catalogue: async () => readCatalogue(database),
    insertMissing: async (set, records) => insertMissingRecords(database, set, records),
    settle: async () => settle(database),
    close: async () => {
      if (closed) return
      closed = true
      database.close()
    },
  }
}

function findFile({ name, path }: SqliteStoreOptions): { target: SqliteTarget; links: number } {
  if (path.includes('\0')) throw shapeError({ name, path: shown(path) }, 'the path holds a zero byte')
  try {
    const target = { name, path: realpathSync(path) }
    const stats = statSync(target.path)
    if (!stats.isFile()) {
      const hint = `look with \`ls -ld ${shellWord(target.path)}\`; the path of the store stands in kvx.yaml`
      throw shapeError(target, 'is not a regular file', { hint })
    }
    return { target, links: stats.nlink }
  } catch (error) {
    if (isKvxError(error)) throw error
    const missing =
      error instanceof Error && 'code' in error && ['ENOENT', 'ENOTDIR'].includes(String(error.code))
    const hint = `look with \`ls -l ${shellWord(path)}\`; the path of the store stands in kvx.yaml`
    if (missing)
      throw new KvxError('FILE_NOT_FOUND', `${describeTarget({ name, path })}: no such file`, { hint })
    throw new KvxError('IO_ERROR', `${describeTarget({ name, path })} cannot be reached`, { hint })
  }
}

function withLinkWarning(facts: StoreFacts, target: SqliteTarget, links: number): StoreFacts {
  if (links < 2) return facts
  const message = `${target.path} has ${links} names: a program that uses another one does not see its journal`
  return { ...facts, warnings: [...facts.warnings, { code: 'HARD_LINKS', message }] }
}

async function* scanPages(
  database: Database,
  set: RecordSet,
  pageSize: number,
): AsyncGenerator<readonly StoredRecord[]> {
  if (!Number.isSafeInteger(pageSize) || pageSize < 1)
    throw new KvxError('BUG', 'a page holds at least one record')
  let cursor: Cursor | undefined
  // By itself, so that nothing holds the rows while somebody works on their records.
  const next = (): readonly StoredRecord[] => {
    const table = readTable(database, set, 'look')
    const rows = readPage(database, { table, set, pageSize, cursor })
    cursor = cursorAfter(rows.at(-1), table)
    return rows.map((row) => toRecord(database, set, row))
  }
  for (;;) {
    const records = next()
    if (records.length > 0) yield records
    if (records.length < pageSize) return
  }
}

type PageRequest = {
  readonly table: Table
  readonly set: RecordSet
  readonly pageSize: number
  readonly cursor: Cursor | undefined
}

function readPage(database: Database, { table, set, pageSize, cursor }: PageRequest): readonly Row[] {
  return database.transaction('DEFERRED', () => {
    const rows: Row[] = []
    for (const { sql, values } of selectPage(table, [...set.id, ...set.columns], cursor)) {
      if (rows.length < pageSize)
        for (const row of database.rows(sql, [...values, BigInt(pageSize - rows.length)])) rows.push(row)
    }
    return rows
  })
}

function cursorAfter(row: Row | undefined, table: Table): Cursor | undefined {
  const cells = row?.slice(-table.order.length * cursorCellsPerColumn)
  return cells === undefined
    ? undefined
    : table.order.map((_, index) => ({
        isText: cells[index * cursorCellsPerColumn] === 1n,
        value: cells[index * cursorCellsPerColumn + 1] ?? null,
      }))
}

function toRecord(database: Database, set: RecordSet, row: Row): StoredRecord {
  const id = set.id.map((_, at) => selectedCell(row, at))
  if (id.includes(null))
    throw shapeError(database.target, `the id of a record of ${shown(set.table)} is null`)
  return { id, cells: selectedCells(row, set.columns, id.length) }
}

/**
 * Whole records, generated columns left out.
 * @throws STORE_SHAPE when a text is not valid Unicode: a backup of it could not bring back its bytes
 */
function fetchRecords(database: Database, set: RecordSet, ids: readonly RecordId[]): readonly StoredRecord[] {
  const table = readTable(database, set)
  const records: StoredRecord[] = []
  for (const id of ids) {
    const where = matchesId(table, set.id, id)
    const { sql, values } = selectWhole(table, where)
    const [row] = database.rows(sql, values)
    if (row === undefined) continue
    const { columns } = table
    const cells = selectedCells(row, columns)
    const exact = columns.every((name, at) =>
      isExact(cells[name], row[cellsPerSelected * columns.length + at]),
    )
    if (!exact) requireExactText(database, table, { id: where, cells })
    records.push({ id, cells })
  }
  return records
}

/** Whether a text surely is all that the file holds: what is no Unicode, or lies behind a zero byte, is missing. */
function isExact(cell: Cell | undefined, bytes: Cell | undefined): boolean {
  if (typeof cell !== 'string') return true
  return !cell.includes('\ufffd') && BigInt(Buffer.byteLength(cell)) === bytes
}

type Fetched = { readonly id: Condition; readonly cells: StoredRecord['cells'] }

function requireExactText(database: Database, table: Table, { id, cells }: Fetched): void {
  const texts = Object.entries(cells).filter(([, cell]) => typeof cell === 'string')
  const holds = (part: typeof texts): boolean => {
    const { sql, values } = selectById(table, [], both(id, matchesCells(Object.fromEntries(part))))
    return database.rows(sql, values).length === 1
  }
  if (holds(texts)) return
  const broken = texts.filter((text) => !holds([text])).map(([column]) => column)
  throw shapeError(
    database.target,
    `table ${shown(table.name)} holds text that is not valid Unicode in ${broken.map(shown).join(', ')}: its bytes can't be backed up`,
    { details: { columns: broken } },
  )
}

/** Moves a WAL into the database and empties it where no reader holds it, then syncs the directory. */
function settle(database: Database): void {
  if (database.rows('PRAGMA main.journal_mode')[0]?.[0] === 'wal') {
    try {
      database.rows('PRAGMA main.wal_checkpoint(TRUNCATE)')
    } catch (error) {
      // A reader that stays keeps old pages in the WAL; commits are durable without the checkpoint.
      if (!isKvxError(error, 'LOCKED')) throw error
    }
  }
  const directory = dirname(database.target.path)
  try {
    const descriptor = openSync(directory, 'r')
    try {
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
  } catch {
    throw new KvxError(
      'IO_ERROR',
      `${describeTarget(database.target)}: its directory cannot be synced to disk`,
      {
        hint: `look at the disk and its file system with \`findmnt --target ${shellWord(directory)}\``,
      },
    )
  }
}
