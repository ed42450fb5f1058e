import {
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Armed } from './shim.ts'

/** Where the fields of the shim's `struct shared` lie, in bytes. */
const fields = { count: 0, fired: 8, at: 16, isLogging: 24, act: 32, processes: 48 } as const
const actLength = 16

export type Counted = {
  /** How many mutating calls there were. */
  readonly count: number
  /** Whether the harm was done. */
  readonly fired: boolean
}

/** The file that the shim shares with the harness, and the log of the calls. */
export class Counters {
  private readonly folder = mkdtempSync(join(tmpdir(), 'kvx-shim-'))
  private readonly path = join(this.folder, 'count')
  private readonly log = join(this.folder, 'log')
  private readonly fd: number

  constructor() {
    writeFileSync(this.path, Buffer.alloc(16_384))
    this.fd = openSync(this.path, 'r+')
  }

  get environment(): Readonly<Record<string, string>> {
    return { FS_COUNT: this.path, FS_LOG: this.log }
  }

  /** Counts from 0 again. The list of processes keeps its first: the one that goes on. */
  arm(armed: Armed | undefined, isLogging: boolean, goesOn: boolean): void {
    const bytes = Buffer.alloc(fields.processes + 8)
    bytes.writeBigUInt64LE(BigInt(armed?.at ?? 0), fields.at)
    bytes.writeBigUInt64LE(isLogging ? 1n : 0n, fields.isLogging)
    bytes.write(armed?.act ?? '', fields.act, actLength - 1, 'latin1')
    bytes.writeBigUInt64LE(goesOn ? 1n : 0n, fields.processes)
    writeFileSync(this.log, '')
    writeSync(this.fd, bytes, 0, bytes.length, 0)
  }

  read(): Counted {
    const bytes = Buffer.alloc(16)
    readSync(this.fd, bytes, 0, bytes.length, 0)
    return {
      count: Number(bytes.readBigUInt64LE(fields.count)),
      fired: bytes.readBigUInt64LE(fields.fired) > 0n,
    }
  }

  /** What the shim appended since. */
  lines(): readonly string[] {
    return readFileSync(this.log, 'latin1')
      .split('\n')
      .filter((line) => line !== '')
  }

  close(): void {
    closeSync(this.fd)
    rmSync(this.folder, { recursive: true, force: true })
  }
}
