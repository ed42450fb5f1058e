/**
 * A second implementation of the vault format, written from docs/formats/vault.md and from Tink's description
 * (developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming) with plain node:crypto. Nothing of kvx has a
 * part in it, so that what it opens is evidence.
 */
import { createDecipheriv, createHmac } from 'node:crypto'

type Hash = 'sha1' | 'sha256'

/** RFC 5869, from HMAC alone. */
function hkdf(hash: Hash, ikm: Buffer, salt: Buffer, info: Buffer, length: number): Buffer {
  const prk = createHmac(hash, salt).update(ikm).digest()
  let block = Buffer.alloc(0)
  let out = Buffer.alloc(0)
  for (let counter = 1; out.length < length; counter++) {
    block = createHmac(hash, prk)
      .update(Buffer.concat([block, info, Buffer.of(counter)]))
      .digest()
    out = Buffer.concat([out, block])
  }
  return out.subarray(0, length)
}

export type TinkKey = {
  readonly hash: Hash
  readonly derived: 16 | 32
  readonly segment: number
  readonly key: Buffer
}

/** Opens a stream of Tink's AES-GCM-HKDF streaming AEAD, or throws. */
export function openTinkStream(parameters: TinkKey, associatedData: Buffer, stream: Buffer): Buffer {
  const headerLength = stream.readUInt8(0)
  if (headerLength !== parameters.derived + 8) throw new Error('header length')
  const salt = stream.subarray(1, 1 + parameters.derived)
  const prefix = stream.subarray(1 + parameters.derived, headerLength)
  const key = hkdf(parameters.hash, parameters.key, salt, associatedData, parameters.derived)
  const plaintexts: Buffer[] = []
  // The header counts into the first segment: segment i ends at (i + 1) * segment size, the last where the stream ends.
  for (let start = headerLength, i = 0; ; i++) {
    const end = Math.min(stream.length, (i + 1) * parameters.segment)
    const last = end === stream.length
    const number = Buffer.alloc(4)
    number.writeUInt32BE(i)
    const iv = Buffer.concat([prefix, number, Buffer.of(last ? 1 : 0)])
    const decipher = createDecipheriv(parameters.derived === 32 ? 'aes-256-gcm' : 'aes-128-gcm', key, iv)
    decipher.setAuthTag(stream.subarray(end - 16, end))
    plaintexts.push(Buffer.concat([decipher.update(stream.subarray(start, end - 16)), decipher.final()]))
    if (last) return Buffer.concat(plaintexts)
    start = end
  }
}

export type ReferenceVault = {
  readonly name: string
  readonly generation: bigint
  readonly fingerprint: string
  readonly plaintext: Buffer
}

/** Opens a whole vault file, or throws. */
export function openReferenceVault(file: Buffer, key: Buffer): ReferenceVault {
  if (file.toString('latin1', 0, 8) !== 'KVXVAULT') throw new Error('magic')
  if (file[8] !== 1 || file[9] !== 1) throw new Error('version or suite')
  const fingerprint = file.toString('hex', 10, 18)
  const own = hkdf('sha256', key, Buffer.alloc(0), Buffer.from('kvx/key-fingerprint/v1'), 32)
  if (!own.subarray(0, 8).equals(file.subarray(10, 18))) throw new Error('fingerprint')
  const end = 28 + file.readUInt16BE(26)
  const parameters: TinkKey = { hash: 'sha256', derived: 32, segment: 1_048_576, key }
  return {
    name: file.toString('utf8', 28, end),
    generation: file.readBigUInt64BE(18),
    fingerprint,
    plaintext: openTinkStream(parameters, file.subarray(0, end), file.subarray(end)),
  }
}
