import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isKvxError, KvxError } from '../../core/errors.ts'
import type { Access } from '../../platform/access.ts'
import { readAclAt } from '../../platform/acl.ts'
import { createFile } from '../../platform/create-file.ts'
import { fileError, shownPath } from '../../platform/file-errors.ts'
import { listDirectory, lstatFacts, makeDirectory } from '../../platform/files.ts'
import type { RecordSet, StoredRecord } from '../store.ts'
import { describeTarget, fileShapeError, shapeError } from './directory-errors.ts'
import { applyEdits, type FileRecord, idKey } from './format.ts'
import type { Glob } from './glob.ts'
import { contentOf, insertFixed } from './insert-fixed.ts'
import { type Directory, pathOf, readRecordFile, replaceRecordFile, requireSet } from './record-files.ts'

/**
 * The `insertMissing` of the store contract. A file that is gone comes back with the owner, mode and ACL of the
 * first other file in its directory, or the directory's owner and mode 0600 where there is none; directories on
 * the way get owner and mode of the one they lie in. A line goes to the end of its file.
 */
export async function insertMissingRecords(
  directory: Directory,
  set: RecordSet,
  records: readonly StoredRecord[],
): Promise<readonly ('inserted' | 'present')[]> {
  const globs = requireSet(directory, set)
  const outcomes: ('inserted' | 'present')[] = []
  for (const record of records) outcomes.push(await insertOne(directory, set, { record, globs }))
  return outcomes
}

type Insert = { readonly record: StoredRecord; readonly globs: readonly Glob[] }

/** Other programs may go on writing: so often a file that changed in between is read again. */
const attempts = 20

async function insertOne(
  directory: Directory,
  set: RecordSet,
  insert: Insert,
): Promise<'inserted' | 'present'> {
  const { record, globs } = insert
  const path = pathOf(set, record.id, globs)
  if (path === undefined)
    throw shapeError(directory.target, 'a record to bring back lies outside of the pattern')
  if (set.id.includes('line') && directory.format.isShared) {
    throw fileShapeError(directory.target, path, 'a line that is gone cannot come back by its number alone')
  }
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (directory.format.sizes !== undefined) {
      const outcome = await insertFixed(directory, set, { record, path })
      if (outcome === 'present' || outcome === 'inserted') return outcome
      if (outcome === 'none' && (await create(directory, path, { bytes: contentOf(record), globs })))
        return 'inserted'
      continue
    }
    const read = readRecordFile(directory, path)
    const file = { target: directory.target, path, bytes: read?.bytes ?? Buffer.alloc(0) }
    if (read !== undefined && (!directory.format.isShared || findIn(directory, set, { ...file, record }))) {
      return 'present'
    }
    const own = wholeOf(directory, set, { ...file, record })
    if (read === undefined) {
      if (await create(directory, path, { bytes: own, globs }))
        return await proven(directory, set, { record, path })
    } else {
      const isTorn = file.bytes.length > 0 && file.bytes.at(-1) !== 0x0a
      const bytes = Buffer.concat([file.bytes, Buffer.from(isTorn ? '\n' : ''), own])
      const { outcome } = await replaceRecordFile(directory, { path, read }, bytes)
      if (outcome === 'changed') return await proven(directory, set, { record, path })
    }
  }
  throw new KvxError(
    'LOCKED',
    `${describeTarget(directory.target)}: another program keeps changing ${shownPath(path)}`,
    {
      hint: 'stop it and run the command again',
    },
  )
}

type Candidate = { readonly path: string; readonly bytes: Buffer; readonly record: StoredRecord }

function findIn(
  directory: Directory,
  set: RecordSet,
  { path, bytes, record }: Candidate,
): FileRecord | undefined {
  const wanted = idKey(record.id)
  for (const found of directory.format.records({ target: directory.target, path, bytes }, set)) {
    if (idKey(found.id) === wanted) return found
  }
  return undefined
}

/** The record's own bytes: those that were fetched, with the columns that a run looked at a moment later. */
function wholeOf(directory: Directory, set: RecordSet, { path, record }: Candidate): Buffer {
  const { format, target } = directory
  const whole = record.cells[format.whole]
  if (!(whole instanceof Uint8Array)) throw new KvxError('BUG', 'a record to bring back is whole')
  const bytes = Buffer.from(whole)
  const [parsed] = format.records({ target, path, bytes }, set)
  const columns = set.columns.filter((column) => record.cells[column] !== undefined)
  const cells = Object.fromEntries(columns.map((column) => [column, record.cells[column] ?? null]))
  const own = parsed === undefined ? bytes : applyEdits(bytes, parsed.edits(cells))
  return format.isShared ? Buffer.concat([own, Buffer.from('\n')]) : own
}

type Creation = { readonly bytes: Buffer; readonly globs: readonly Glob[] }

/** False when another program made the file in the same moment. */
async function create(directory: Directory, path: string, { bytes, globs }: Creation): Promise<boolean> {
  await makeParents(directory, path)
  directory.touched.add(dirname(join(directory.target.path, path)))
  try {
    const access = await accessBeside(directory, path, globs)
    await directory.folders.within(path, async (reached) => createFile(reached, bytes, access))
    return true
  } catch (error) {
    if (isKvxError(error, 'TARGET_EXISTS')) return false
    throw error
  }
}

async function accessBeside(directory: Directory, path: string, globs: readonly Glob[]): Promise<Access> {
  const parent = dirname(join(directory.target.path, path))
  const names = path.split('/').slice(0, -1)
  const positions = globs.map(({ start }) => names.reduce((at, name) => at.step(name), start))
  for (const name of await listDirectory(parent)) {
    if (!positions.every((position) => position.step(name).isEnd)) continue
    const facts = await lstatFacts(join(parent, name))
    if (facts?.type !== 'file') continue
    const { uid, gid, mode } = facts
    return { owner: uid, group: gid, mode: mode & 0o777, acl: await readAclAt(join(parent, name)) }
  }
  const facts = await lstatFacts(parent)
  return { mode: 0o600, ...(facts && { owner: facts.uid, group: facts.gid }) }
}

async function makeParents({ target }: Directory, path: string): Promise<void> {
  const names = path.split('/').slice(0, -1)
  for (let depth = 1; depth <= names.length; depth++) {
    const made = join(target.path, ...names.slice(0, depth))
    if ((await lstatFacts(made)) === undefined && (await makeDirectory(made, 0o700)))
      await takeAfterParent(made)
  }
}

async function takeAfterParent(made: string): Promise<void> {
  const parent = await lstatFacts(dirname(made))
  if (parent === undefined) return
  let handle: FileHandle | undefined
  try {
    handle = await open(made, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
    if (process.geteuid?.() === 0) await handle.chown(parent.uid, parent.gid)
    await handle.chmod(parent.mode & 0o777)
    await handle.sync()
  } catch (error) {
    throw fileError(error, 'make the directory', made)
  } finally {
    await handle?.close().catch(() => undefined)
  }
}

/** Reads the record through a fresh open. @throws READ_BACK_FAILED */
async function proven(
  directory: Directory,
  set: RecordSet,
  { record, path }: { readonly record: StoredRecord; readonly path: string },
): Promise<'inserted'> {
  const read = readRecordFile(directory, path)
  if (read !== undefined && findIn(directory, set, { path, bytes: read.bytes, record }) !== undefined)
    return 'inserted'
  throw new KvxError(
    'READ_BACK_FAILED',
    `${describeTarget(directory.target)}: a record that was brought back is not in ${shownPath(path)}`,
    { hint: 'look at the disk, and for a program that writes there' },
  )
}
