import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual, type KeyObject } from 'node:crypto'
import { ended } from '../aead/block-modes.ts'
import { isKvxError, KvxError } from '../errors.ts'
import { compileDerivation, type Derivation } from '../layout/derivation.ts'
import { compileMacInput, type MacInput } from '../layout/mac-input.ts'
import { mismatch } from '../layout/values.ts'
import type { Secret } from '../secret.ts'
import type { Cipher, CipherKey, SealedParts } from './cipher.ts'
import { ComposedKey } from './composed-key.ts'
import { bytesIn, foreignKey, wrongKey, wrongLength } from './sealed-bytes.ts'

/** Encrypt, then MAC: a mode of AES and HMAC over what the ciphertext's authenticity needs. */
export type Composition = {
  readonly name: string
  readonly bits: 128 | 192 | 256
  readonly mode: 'cbc' | 'ctr'
  readonly hash: 'sha256' | 'sha384' | 'sha512'
  /** The part that holds the MAC. */
  readonly macPart: 'mac' | 'tag'
  /** The one length that it has; without it any from 16 bytes to the hash's. */
  readonly macLength?: number
  /** Parts besides nonce, ciphertext and MAC. */
  readonly otherParts?: readonly string[]
  /** What the MAC covers, in the language of layouts. */
  readonly mac: string
  /** Derivations of the two keys from `key`; without one it is the whole key. */
  readonly macKey: string | undefined
  readonly cipherKey: string | undefined
  /** The one length of the key; without it what the derivations take. */
  readonly keyLength?: number
  /** A part as the MAC covers it. */
  readonly covered?: (name: string, value: Uint8Array | bigint) => Uint8Array | bigint
}

const nonceLength = 16
const shortestMac = 16
const hashLengths = { sha256: 32, sha384: 48, sha512: 64 } as const

/** @throws LAYOUT_INVALID, CONFIG_INVALID for a MAC or a derivation that can't be */
export function composedCipher(composition: Composition): Cipher {
  const { name, macPart, otherParts = [] } = composition
  const input = macInputOf(composition)
  const keys = {
    mac: derivationOf(composition, 'macKey'),
    encryption: derivationOf(composition, 'cipherKey'),
  }
  const keyLength =
    composition.keyLength ?? (keys.encryption === undefined ? composition.bits / 8 : undefined)
  const accepts = (length: number): boolean => (keyLength === undefined ? length > 0 : length === keyLength)
  const keyLengths = keyLength === undefined ? '1 or more' : String(keyLength)
  return {
    name,
    kind: 'aead',
    parts: [...otherParts, 'nonce', 'ct', macPart],
    takesAad: input.takesAad,
    nonceLength,
    acceptsKeyLength: accepts,
    keyLengths,
    prepare(material) {
      if (!accepts(material.length)) throw wrongKey(name, material.length, keyLengths)
      return withKeys(composition, keys, material)
    },
    open: (key, parts, aad) => opened(composition, input, { key, parts, aad }),
    seal: (key, plaintext, given, aad) => sealed(composition, input, { key, parts: given, aad }, plaintext),
  }
}

/** The nonce may be missing: where it is made from the key, nobody can exchange it. */
function macInputOf({ name, mac }: Composition): MacInput {
  const input = compileMacInput(mac)
  if (input.partNames.has('ct')) return input
  throw new KvxError('CONFIG_INVALID', `the mac of ${name} does not cover the ciphertext`, {
    hint: 'write what the application puts into its MAC, e.g. mac: nonce ct',
  })
}

function derivationOf(composition: Composition, which: 'macKey' | 'cipherKey'): Derivation | undefined {
  const source = composition[which]
  if (source === undefined) return undefined
  const derivation = compileDerivation(source)
  if (derivation.partNames.size + derivation.columns.size + derivation.newColumns.size === 0)
    return derivation
  throw new KvxError('CONFIG_INVALID', `the ${which} of ${composition.name} is made from more than the key`, {
    hint: 'put columns and parts into derive, and make both keys from its key',
  })
}

function withKeys(
  composition: Composition,
  keys: { readonly mac: Derivation | undefined; readonly encryption: Derivation | undefined },
  material: Secret,
): ComposedKey {
  const made: Secret[] = []
  const derive = (which: 'macKey' | 'cipherKey', derivation: Derivation | undefined): Secret => {
    if (derivation === undefined) return material
    const secret = derived(composition, which, derivation, material)
    made.push(secret)
    return secret
  }
  try {
    const mac = derive('macKey', keys.mac)
    const encryption = derive('cipherKey', keys.encryption)
    const expected = composition.bits / 8
    if (encryption.length !== expected) throw wrongKey(composition.name, encryption.length, String(expected))
    return new ComposedKey(composition.name, mac, encryption)
  } finally {
    for (const secret of made) secret.wipe()
  }
}

function derived(
  { name }: Composition,
  which: 'macKey' | 'cipherKey',
  derivation: Derivation,
  key: Secret,
): Secret {
  try {
    return derivation.derive({ key, cell: nothing, newCell: nothing, part: nothing })
  } catch (error) {
    if (!isKvxError(error, 'LAYOUT_MISMATCH')) throw error
    const message = `the ${which} of ${name} can't be made from a key of ${key.length} bytes: ${error.message}`
    throw new KvxError('KEY_MALFORMED', message, { details: { fault: 'length', length: key.length } })
  }
}

function nothing(): never {
  throw new TypeError('the keys of a cipher are made from its key alone')
}

type Value = { readonly key: CipherKey; readonly parts: SealedParts; readonly aad: Uint8Array }

function keysOf(name: string, key: CipherKey): ReturnType<ComposedKey['keysFor']> {
  if (key instanceof ComposedKey) return key.keysFor(name)
  throw foreignKey(name)
}

function opened(composition: Composition, input: MacInput, value: Value): Uint8Array | undefined {
  const keys = keysOf(composition.name, value.key)
  const { ct, nonce, mac } = checkedParts(composition, value.parts)
  const expected = macOf(composition, input, keys.mac, value)
  if (!timingSafeEqual(expected.subarray(0, mac.length), mac)) return undefined
  const decipher = createDecipheriv(`aes-${composition.bits}-${composition.mode}`, keys.encryption, nonce)
  const plaintext = decipher.update(ct)
  try {
    return ended(plaintext, decipher.final())
  } catch {
    plaintext.fill(0)
    return undefined
  }
}

function sealed(composition: Composition, input: MacInput, value: Value, plaintext: Uint8Array): SealedParts {
  const { name, macPart } = composition
  const keys = keysOf(name, value.key)
  const nonce = bytesIn(value.parts, 'nonce')
  if (nonce.length !== nonceLength) throw wrongLength(name, 'nonce', nonce.length)
  const cipher = createCipheriv(`aes-${composition.bits}-${composition.mode}`, keys.encryption, nonce)
  const parts = new Map(value.parts).set('ct', ended(cipher.update(plaintext), cipher.final()))
  const old = value.parts.get(macPart)
  const length =
    composition.macLength ?? (old instanceof Uint8Array ? old.length : hashLengths[composition.hash])
  checkMac(composition, length)
  const mac = macOf(composition, input, keys.mac, { ...value, parts })
  return parts.set(macPart, mac.subarray(0, length))
}

function checkedParts(
  composition: Composition,
  parts: SealedParts,
): { readonly ct: Uint8Array; readonly nonce: Uint8Array; readonly mac: Uint8Array } {
  const { name, macPart } = composition
  const ct = bytesIn(parts, 'ct')
  const nonce = bytesIn(parts, 'nonce')
  const mac = bytesIn(parts, macPart)
  if (nonce.length !== nonceLength) throw wrongLength(name, 'nonce', nonce.length)
  if (composition.mode === 'cbc' && (ct.length === 0 || ct.length % 16 !== 0)) {
    throw wrongLength(name, 'ciphertext', ct.length)
  }
  checkMac(composition, mac.length)
  return { ct, nonce, mac }
}

function checkMac({ name, macPart, macLength, hash }: Composition, length: number): void {
  const possible =
    macLength === undefined ? length >= shortestMac && length <= hashLengths[hash] : length === macLength
  if (!possible) throw wrongLength(name, macPart, length)
}

/** The whole HMAC, of which values may hold the beginning. */
function macOf(composition: Composition, input: MacInput, key: KeyObject, { parts, aad }: Value): Buffer {
  const hmac = createHmac(composition.hash, key)
  const pieces = input.pieces((name) => {
    const value = name === 'aad' ? aad : parts.get(name)
    return value === undefined ? undefined : (composition.covered?.(name, value) ?? value)
  })
  for (const piece of pieces) hmac.update(piece)
  if (aad.length > 0 && !input.takesAad) throw mismatch(`the mac of ${composition.name} does not cover aad`)
  return hmac.digest()
}
