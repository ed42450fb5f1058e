import { join } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { openAppender, type Appender } from '../platform/append-file.ts'
import { exists, listDirectory, makeDirectory } from '../platform/files.ts'
import { readLines } from '../platform/read-lines.ts'
import type { PlainCells } from './plain-backup.ts'
import type { Cells, RecordId } from '../stores/store.ts'
import {
  decodeCell,
  decodeCells,
  digestOfCells,
  digestOfValues,
  type EncodedCell,
  jsonOfCell,
  jsonOfCells,
} from './cells.ts'

/**
 * The bytes that a run replaced: JSON Lines under `runs/ID/backup/`, a header that binds it to the plan, then one
 * line a record with the whole old row and the digest of what was written in its place. Each batch is on the
 * medium before that batch is written to the store.
 */
export type BackupEntry = {
  readonly envelope: string
  readonly id: RecordId
  /** The whole row as it was before. */
  readonly row: Cells
  /** Names of the columns that the run changed. */
  readonly changed: readonly string[]
  /** SHA-256 of the changed columns as the run wrote them. */
  readonly wrote: string
  /** The same by what they hold, where stores may spell it in another way. */
  readonly wroteValues?: string
  /** Of a run that makes new DEKs: the fingerprint of the record's new one, and how it lies wrapped. */
  readonly dek?: string
  readonly wrapped?: Cells
  /** Columns that held plaintext: they are left out of `row`. */
  readonly plain?: PlainCells
  /** The record is one of those that are joined to their wrapped DEKs, in a table of its own. */
  readonly joined?: true
}

export type BackupWriter = {
  /** Durable when it returns. Entries are taken one after the other. */
  append(entries: Iterable<BackupEntry>): Promise<void>
  close(): Promise<void>
}

export function backupPath(runDirectory: string): string {
  return join(runDirectory, 'backup', 'ciphertext.jsonl')
}

const overwrittenPrefix = 'overwritten-'

/** What a `run restore` replaced, under the versions of after the run; a file of its own for each restore. */
export function overwrittenName(id: string): string {
  return `${overwrittenPrefix}${id}.jsonl`
}

function isOverwritten(name: string): boolean {
  return name.startsWith(overwrittenPrefix)
}

/** The files that hold old bytes of a run, its own and those of restores; none when it was forgotten. */
export async function backupFiles(
  runDirectory: string,
): Promise<{ readonly replaced: readonly string[]; readonly overwritten: readonly string[] }> {
  const directory = join(runDirectory, 'backup')
  const names = (await exists(directory)) ? await listDirectory(directory) : []
  const paths = (own: readonly string[]): readonly string[] => own.map((name) => join(directory, name))
  return {
    replaced: paths(names.filter((name) => !isOverwritten(name))),
    overwritten: paths(names.filter(isOverwritten)),
  }
}

type Header = { readonly schema: 'kvx.ciphertext-backup/1'; readonly run: string; readonly plan: string }

/**
 * Opens the backup of a run for appending; a new one gets its header, an existing one a whole last line.
 * @param name another file beside the run's own
 */
export async function openBackupWriter(
  runDirectory: string,
  run: { readonly id: string; readonly planDigest: string },
  name?: string,
): Promise<BackupWriter> {
  await makeDirectory(join(runDirectory, 'backup'), 0o700)
  const path = name === undefined ? backupPath(runDirectory) : join(runDirectory, 'backup', name)
  const appender = await openAppender(path)
  try {
    await beginBackup(appender, path, run)
  } catch (error) {
    await appender.close()
    throw error
  }
  return {
    append: async (entries) => {
      const lines = new Lines()
      for (const entry of entries) lines.add(lineOf(entry))
      if (lines.bytes.length === 0) return
      await appender.append(lines.bytes)
      await appender.sync()
    },
    close: async () => appender.close(),
  }
}

/** Lines as bytes, each of them at once: as one text all of them would live until the last one is there. */
class Lines {
  #room = Buffer.alloc(0)
  #length = 0

  add(line: string): void {
    // What UTF-8 takes at most for a unit of UTF-16.
    const most = this.#length + 3 * line.length
    if (most > this.#room.length) {
      const more = Buffer.allocUnsafeSlow(2 * most)
      this.#room.copy(more, 0, 0, this.#length)
      this.#room = more
    }
    this.#length += this.#room.write(line, this.#length)
  }

  get bytes(): Buffer {
    return this.#room.subarray(0, this.#length)
  }
}

async function beginBackup(
  appender: Appender,
  path: string,
  run: { readonly id: string; readonly planDigest: string },
): Promise<void> {
  if (appender.length === 0) {
    const header: Header = { schema: 'kvx.ciphertext-backup/1', run: run.id, plan: run.planDigest }
    await appender.append(Buffer.from(`${JSON.stringify(header)}\n`))
    await appender.sync()
    return
  }
  // A crash may have torn the last line; its batch never reached the store. End the line so that the next
  // entry begins on a new one.
  for await (const { complete } of readLines(path)) {
    if (!complete) await appender.append(Buffer.from('\n'))
  }
}

type EncodedEntry = {
  readonly envelope: string
  readonly id: readonly EncodedCell[]
  readonly row: Readonly<Record<string, EncodedCell>>
  readonly changed: readonly string[]
  readonly wrote: string
  readonly wroteValues?: string
  readonly dek?: string
  readonly wrapped?: Readonly<Record<string, EncodedCell>>
  readonly plain?: PlainCells
  readonly joined?: true
}

/** An entry as its line: `JSON.stringify` of the {@link EncodedEntry}, without making its objects. */
export function lineOf(entry: BackupEntry): string {
  const { wroteValues, dek, wrapped, plain, joined } = entry
  let line = `{"envelope":${JSON.stringify(entry.envelope)}`
  line += `,"id":[${entry.id.map(jsonOfCell).join(',')}]`
  line += `,"row":${jsonOfCells(entry.row)}`
  line += `,"changed":${JSON.stringify(entry.changed)}`
  line += `,"wrote":"${entry.wrote}"`
  if (wroteValues !== undefined) line += `,"wroteValues":"${wroteValues}"`
  if (dek !== undefined) line += `,"dek":${JSON.stringify(dek)}`
  if (wrapped !== undefined) line += `,"wrapped":${jsonOfCells(wrapped)}`
  if (plain !== undefined) line += `,"plain":${JSON.stringify(plain)}`
  if (joined === true) line += ',"joined":true'
  return `${line}}\n`
}

/**
 * Reads a backup back, oldest entry first. Torn lines are left out: what they held was never replaced.
 * @throws DAMAGED when the header is not this run's
 */
export async function* readBackup(
  runDirectory: string,
  run: { readonly id: string; readonly planDigest: string },
): AsyncGenerator<BackupEntry> {
  let first = true
  for await (const { line } of readLines(backupPath(runDirectory))) {
    const data = parseLine(line)
    if (first) {
      const header = data as Partial<Header> | undefined
      if (header?.run !== run.id || header.plan !== run.planDigest) {
        throw new KvxError(
          'DAMAGED',
          `the ciphertext backup in ${runDirectory} is not that of run ${run.id}`,
          {
            hint: 'It was moved or changed. Nothing was restored.',
          },
        )
      }
      first = false
      continue
    }
    if (data !== undefined) yield decodeEntry(data as EncodedEntry)
  }
}

function parseLine(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'))
  } catch {
    return undefined
  }
}

function decodeEntry(encoded: EncodedEntry): BackupEntry {
  const { wrapped, ...rest } = encoded
  return {
    ...rest,
    id: encoded.id.map(decodeCell),
    row: decodeCells(encoded.row),
    ...(wrapped === undefined ? {} : { wrapped: decodeCells(wrapped) }),
  }
}

/** The entry of one record that is about to change. */
export function makeEntry(
  envelope: string,
  id: RecordId,
  before: { readonly row: Cells; readonly used: Cells },
  change: Cells,
): BackupEntry {
  const wrote = digestOfCells(change)
  // Bytes are spelt in one way alone.
  const isBytes = Object.values(change).every((cell) => cell instanceof Uint8Array)
  const wroteValues = isBytes ? wrote : digestOfValues(change)
  return {
    envelope,
    id,
    // The columns that were used come from the very look that the change was made from.
    row: { ...before.row, ...before.used },
    changed: Object.keys(change).sort(),
    wrote,
    ...(wroteValues === wrote ? {} : { wroteValues }),
  }
}
