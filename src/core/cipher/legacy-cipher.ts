import { createDecipheriv } from 'node:crypto'
import { ended } from '../aead/block-modes.ts'
import { PreparedKey } from '../aead/prepared-key.ts'
import { prepared } from './aead-cipher.ts'
import type { Cipher, SealedParts } from './cipher.ts'
import { bytesIn, wrongLength } from './sealed-bytes.ts'

/** A cipher of OpenSSL that authenticates nothing. */
type Mode = {
  readonly name: string
  /** As OpenSSL calls it. */
  readonly algorithm: string
  readonly keyLength: number
  readonly nonceLength: number
  /** Ciphertexts are a multiple of it: 1 for a stream. */
  readonly block: number
  readonly padded: boolean
}

function modesOf(bits: 128 | 192 | 256): readonly Mode[] {
  const keyLength = bits / 8
  const stream = (mode: string): Mode => {
    const name = `aes-${bits}-${mode}`
    return { name, algorithm: name, keyLength, nonceLength: 16, block: 1, padded: false }
  }
  const blocks = (mode: string, nonceLength: number, padded: boolean): Mode => {
    const algorithm = `aes-${bits}-${mode}`
    return {
      name: padded ? algorithm : `${algorithm}-nopad`,
      algorithm,
      keyLength,
      nonceLength,
      block: 16,
      padded,
    }
  }
  return [
    ...[true, false].flatMap((padded) => [blocks('cbc', 16, padded), blocks('ecb', 0, padded)]),
    ...['ctr', 'cfb', 'cfb8', 'ofb'].map(stream),
  ]
}

const tripleDes = [true, false].map((padded): Mode => {
  const algorithm = 'des-ede3-cbc'
  const name = padded ? algorithm : `${algorithm}-nopad`
  return { name, algorithm, keyLength: 24, nonceLength: 8, block: 8, padded }
})

/** Ciphers without authentication: kvx opens what lies under them and never writes it. */
export const legacyCiphers: readonly Cipher[] = [
  ...([128, 192, 256] as const).flatMap(modesOf),
  ...tripleDes,
].map(legacyCipher)

function legacyCipher(mode: Mode): Cipher {
  const { name, keyLength, nonceLength } = mode
  return {
    name,
    kind: 'legacy',
    parts: nonceLength === 0 ? ['ct'] : ['nonce', 'ct'],
    takesAad: false,
    nonceLength,
    acceptsKeyLength: (length) => length === keyLength,
    keyLengths: String(keyLength),
    prepare: (material) => PreparedKey.of({ name, keyLength, native: true }, material),
    open(key, parts, aad) {
      if (aad.length > 0) throw wrongLength(name, 'associated data', aad.length)
      return decrypted(mode, prepared(name, key), parts)
    },
    seal() {
      throw new TypeError(`${name} does not authenticate, so kvx writes nothing under it`)
    },
  }
}

function decrypted(mode: Mode, key: PreparedKey, parts: SealedParts): Uint8Array | undefined {
  const ct = bytesIn(parts, 'ct')
  const nonce = mode.nonceLength === 0 ? undefined : bytesIn(parts, 'nonce')
  if (nonce !== undefined && nonce.length !== mode.nonceLength) {
    throw wrongLength(mode.name, 'nonce', nonce.length)
  }
  if (ct.length % mode.block !== 0 || (mode.padded && ct.length === 0)) {
    throw wrongLength(mode.name, 'ciphertext', ct.length)
  }
  const decipher = createDecipheriv(mode.algorithm, key.object(mode.name), nonce ?? null)
  decipher.setAutoPadding(mode.padded)
  const plaintext = decipher.update(ct)
  try {
    return ended(plaintext, decipher.final())
  } catch {
    plaintext.fill(0)
    return undefined
  }
}
