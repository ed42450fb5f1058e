import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { DirectoryStoreOptions } from '../../../src/stores/directory/directory-store.ts'
import type { Cells } from '../../../src/stores/store.ts'

export type FormatName = DirectoryStoreOptions['format']

/** The record of an application in the contract suite: an id and a text. */
export type Pair = { readonly id: string; readonly value: string }

/** The contract suite's texts in a record of fixed size: their length, their bytes, and zeros. */
export const suiteRecordBytes = 1200

export function padded(text: string): Buffer {
  const record = Buffer.alloc(suiteRecordBytes)
  record.writeUInt16BE(record.write(text, 2, 'utf8'))
  return record
}

export function unpadded(record: Uint8Array): string {
  const bytes = Buffer.from(record)
  return bytes.toString('utf8', 2, 2 + bytes.readUInt16BE())
}

/**
 * What an application does with its own files, by its own means: it replaces a file whole, under a temporary name
 * and a rename. One file a record for `file` and `json`, one line of `records.jsonl` for `jsonl`, one file with one
 * record of fixed size for `records`.
 */
export class FileApplication {
  readonly #directory: string
  readonly #format: FormatName

  constructor(directory: string, format: FormatName) {
    this.#directory = directory
    this.#format = format
  }

  rows(): Pair[] {
    if (this.#format === 'jsonl') return this.#lines()
    const names = readdirSync(this.#directory).filter((name) => !name.startsWith('.'))
    return names.map((id) => {
      if (this.#format === 'records') return { id, value: unpadded(readFileSync(join(this.#directory, id))) }
      const text = readFileSync(join(this.#directory, id), 'utf8')
      return this.#format === 'file' ? { id, value: text } : (JSON.parse(text) as Pair)
    })
  }

  insert(row: Cells): void {
    this.#write(asPair(row))
  }

  update(id: string, change: Cells): void {
    const row = this.rows().find((one) => one.id === id)
    if (row !== undefined) this.#write(asPair({ ...row, ...change }))
  }

  /** Puts a record in place without a look at what is there. */
  put(row: Pair): void {
    this.#write(row)
  }

  remove(id: string): void {
    if (this.#format !== 'jsonl') return rmSync(join(this.#directory, id))
    this.#writeLines(this.#lines().filter((one) => one.id !== id))
  }

  #write(row: Pair): void {
    if (this.#format === 'file') return replace(join(this.#directory, row.id), row.value)
    if (this.#format === 'records') return replace(join(this.#directory, row.id), padded(row.value))
    if (this.#format === 'json') return replace(join(this.#directory, row.id), JSON.stringify(row, null, 2))
    const lines = this.#lines()
    const at = lines.findIndex((one) => one.id === row.id)
    if (at === -1) lines.push(row)
    else lines[at] = row
    this.#writeLines(lines)
  }

  #lines(): Pair[] {
    const text = readFileSync(join(this.#directory, 'records.jsonl'), 'utf8')
    return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Pair]))
  }

  #writeLines(rows: readonly Pair[]): void {
    replace(join(this.#directory, 'records.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
  }
}

const asPair = (row: Cells): Pair => ({ id: String(row['id']), value: String(row['value']) })

/** The whole of a correct atomic writer but for the syncs, which only slow it down. */
export function replace(path: string, text: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true })
  const temporary = join(dirname(path), `.application-${process.pid}.tmp`)
  writeFileSync(temporary, text)
  renameSync(temporary, path)
}
