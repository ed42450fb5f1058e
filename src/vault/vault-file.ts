import { createHash } from 'node:crypto'
import { KvxError } from '../core/errors.ts'
import { fingerprintOf } from '../core/fingerprint.ts'
import type { Secret } from '../core/secret.ts'
import {
  aes256GcmHkdf1Mb,
  makeStreamHeader,
  parseStreamHeader,
  planSegments,
  renderStreamHeader,
  SegmentCipher,
  segmentCapacity,
  type SegmentPlan,
  type StreamHeader,
  streamHeaderLength,
} from '../core/tink-streaming.ts'
import { randomBytes } from '../platform/random.ts'
import { openStreamReader, type StreamReader } from '../platform/stream-file.ts'
import {
  damaged,
  maxHeaderLength,
  parseVaultHeader,
  renderVaultHeader,
  shortFingerprint,
  type VaultHeader,
} from './header.ts'

const parameters = aes256GcmHkdf1Mb

/** The length of every vault key in bytes. */
export const vaultKeyLength = 32

/** An open vault file whose header was read and not yet proven. Close it. */
export type VaultFile = {
  readonly reader: StreamReader
  readonly header: VaultHeader
  /** The header as it lies in the file: the associated data of the body. */
  readonly headerBytes: Buffer
  readonly streamHeader: StreamHeader
  readonly segments: SegmentPlan
  close(): Promise<void>
}

/**
 * Opens a vault file and reads its open part.
 * @param name what the vault is called: a file of another vault under this name is refused
 * @throws FILE_NOT_FOUND, UNSAFE_FILE_TYPE, DAMAGED naming what is wrong
 */
export async function openVaultFile(path: string, name: string): Promise<VaultFile> {
  const reader = await openStreamReader(path)
  try {
    const { size } = reader.facts
    const { header, bytes } = parseVaultHeader(await reader.read(0, Math.min(size, maxHeaderLength)), path)
    if (header.name !== name) throw damaged(path, `it is the vault ${header.name}, not ${name}`)
    const rest = size - bytes.length
    const prefix = await reader.read(bytes.length, Math.min(rest, streamHeaderLength(parameters)))
    const body = inFile(path, () => ({
      streamHeader: parseStreamHeader(parameters, prefix),
      segments: planSegments(parameters, rest),
    }))
    return { reader, header, headerBytes: bytes, ...body, close: async () => reader.close() }
  } catch (error) {
    await reader.close()
    throw error
  }
}

/** Puts the file before what the format says. */
function inFile<T>(path: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof KvxError && error.code === 'DAMAGED') throw damaged(path, error.message)
    throw error
  }
}

/** SHA-256 of everything before the first segment, hex. The random salt in it makes it a name of this one file. */
export function headDigest({ headerBytes, streamHeader }: VaultFile): string {
  return createHash('sha256')
    .update(headerBytes)
    .update(renderStreamHeader(parameters, streamHeader))
    .digest('hex')
}

/** True for the key whose fingerprint stands in the header. */
export function isKeyOf(file: VaultFile, key: Secret): boolean {
  return shortFingerprint(fingerprintOf(key)) === file.header.fingerprint
}

const readAhead = 2

/**
 * The plaintext, segment by segment, each verified before it is given out; the whole is proven when the last
 * one was. A segment is wiped when the next one is asked for: copy what is kept.
 * @throws DAMAGED naming the first segment that does not open, IO_ERROR when the file changes meanwhile
 */
export async function* openSegments(file: VaultFile, key: Secret): AsyncGenerator<Buffer> {
  const { count } = file.segments
  const cipher = cipherOf(file, key)
  const ahead: Promise<Buffer>[] = []
  const buffers = Array.from({ length: Math.min(count, readAhead + 1) }, () =>
    Buffer.allocUnsafeSlow(parameters.segmentLength),
  )
  const room = Buffer.allocUnsafeSlow(parameters.segmentLength)
  let reading = 0
  try {
    for (let index = 0; index < count; index++) {
      for (; reading < count && reading < index + buffers.length; reading++) {
        // A buffer is free again when its segment was opened.
        ahead.push(readSegment(file, reading, buffers[reading % buffers.length]))
      }
      const sealed = await ahead.shift()
      const plaintext = sealed && cipher.open(index, file.segments.at(index).isLast, sealed, room)
      if (plaintext === undefined) throw notAuthentic(file, index)
      try {
        yield plaintext
      } finally {
        plaintext.fill(0)
      }
    }
    await file.reader.requireUnchanged()
  } finally {
    cipher.wipe()
    await Promise.allSettled(ahead)
  }
}

export function notAuthentic(file: VaultFile, index: number): KvxError {
  const where = `segment ${index + 1} of ${file.segments.count}`
  return damaged(
    file.reader.path,
    index === 0
      ? `its header or ${where} was changed, or it was sealed with another key`
      : `${where} was changed, moved or cut off`,
  )
}

export function cipherOf(file: VaultFile, key: Secret): SegmentCipher {
  const stream = { header: file.streamHeader, associatedData: file.headerBytes }
  return SegmentCipher.derive(parameters, key, stream)
}

async function readSegment(file: VaultFile, index: number, into?: Buffer): Promise<Buffer> {
  const { offset, length } = file.segments.at(index)
  const bytes = file.reader.read(file.headerBytes.length + offset, length, into)
  bytes.catch(() => undefined) // it is awaited later; until then nobody hears of a failure
  return bytes
}

/** Whether a key opens the first segment. A proof wants a no from every key but one. */
export async function opensFirstSegment(file: VaultFile, key: Secret): Promise<boolean> {
  const cipher = cipherOf(file, key)
  try {
    const plaintext = cipher.open(0, file.segments.at(0).isLast, await readSegment(file, 0))
    plaintext?.fill(0)
    return plaintext !== undefined
  } finally {
    cipher.wipe()
  }
}

export type SealRequest = {
  readonly name: string
  readonly generation: bigint
  readonly key: Secret
  /** The plaintext in pieces of any length. A piece may be changed once the next one is asked for. */
  readonly source: AsyncIterable<Uint8Array>
  /** Sees the plaintext of each segment before it is sealed. */
  readonly onSegment?: (plaintext: Buffer) => Promise<void>
}

type Write = (bytes: Uint8Array) => Promise<void>

/** What a vault file begins with: all before the first segment, and the cipher of its segments. Wipe that. */
export function makeHead({ name, generation, key }: Omit<SealRequest, 'source' | 'onSegment'>): {
  readonly bytes: Buffer
  readonly cipher: SegmentCipher
} {
  const fingerprint = shortFingerprint(fingerprintOf(key))
  const associatedData = renderVaultHeader({ fingerprint, generation, name })
  const header = makeStreamHeader(parameters, randomBytes)
  return {
    bytes: Buffer.concat([associatedData, renderStreamHeader(parameters, header)]),
    cipher: SegmentCipher.derive(parameters, key, { header, associatedData }),
  }
}

/** Writes a vault file: header, then body. While one segment is written, the next one is filled and sealed. */
export async function sealVault(request: SealRequest, write: Write): Promise<void> {
  const { bytes, cipher } = makeHead(request)
  await write(bytes)
  const { source } = request
  const pen = writeBehind(write)
  const buffer = Buffer.allocUnsafeSlow(parameters.segmentLength)
  const sealed = [0, 1].map(() => Buffer.allocUnsafeSlow(parameters.segmentLength))
  let [index, filled] = [0, 0]
  const sealOne = async (isLast: boolean): Promise<void> => {
    const plaintext = buffer.subarray(0, filled)
    await request.onSegment?.(plaintext)
    // One of the two is on its way to the file while the other one is filled.
    await pen(cipher.seal(index, isLast, plaintext, sealed[index % 2]))
    index++
    filled = 0
  }
  try {
    for await (const piece of source) {
      for (let at = 0; at < piece.length; ) {
        // A full segment is sealed when more is known to come: only then it is not the last one.
        if (filled === segmentCapacity(parameters, index)) await sealOne(false)
        const taken = Math.min(piece.length - at, segmentCapacity(parameters, index) - filled)
        buffer.set(piece.subarray(at, at + taken), filled)
        filled += taken
        at += taken
      }
    }
    await sealOne(true)
    await pen()
  } finally {
    buffer.fill(0)
    cipher.wipe()
    await pen().catch(() => undefined)
  }
}

/** Starts a write and waits for the one before it. With nothing to write it waits for the last. */
function writeBehind(write: Write): (bytes?: Uint8Array) => Promise<void> {
  let last: Promise<void> = Promise.resolve()
  return async (bytes) => {
    await last
    if (bytes === undefined) return
    last = write(bytes)
    last.catch(() => undefined)
  }
}
