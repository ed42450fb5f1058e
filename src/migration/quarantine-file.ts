import { join } from 'node:path'
import { openAppender, type Appender } from '../platform/append-file.ts'
import { removeFile } from '../platform/files.ts'
import type { NamedRecord } from './census.ts'

/** The name of the file under `runs/ID/`. */
export const quarantineFile = 'quarantine.jsonl'

/**
 * Every record that a run sets aside, one JSON object a line: a census and a report name the first ones only. Made
 * anew by each attempt; there is none when nothing was set aside.
 */
export class QuarantineFile {
  readonly #path: string
  #appender: Appender | undefined
  #kept = 0

  private constructor(path: string) {
    this.#path = path
  }

  /** Begins anew: what an earlier attempt of the run named is looked at again. */
  static async begin(runDirectory: string): Promise<QuarantineFile> {
    const path = join(runDirectory, quarantineFile)
    await removeFile(path)
    return new QuarantineFile(path)
  }

  async add(envelope: string, named: readonly NamedRecord[]): Promise<void> {
    const lines = named.map(({ record, reason }) => `${JSON.stringify({ envelope, record, reason })}\n`)
    this.#appender ??= await openAppender(this.#path)
    await this.#appender.append(Buffer.from(lines.join('')))
  }

  /** Takes back what the census of this envelope named so far: another one follows. */
  async again(): Promise<void> {
    if (this.#appender !== undefined) await this.#appender.cut(this.#kept)
  }

  /** What the last census named stays. */
  async keep(): Promise<void> {
    if (this.#appender === undefined) return
    await this.#appender.sync()
    this.#kept = this.#appender.length
  }

  async close(): Promise<void> {
    const isEmpty = this.#appender !== undefined && this.#kept === 0
    await this.#appender?.close()
    if (isEmpty) await removeFile(this.#path)
  }
}
