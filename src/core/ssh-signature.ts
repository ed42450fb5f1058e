import { createHash, createPublicKey, verify as cryptoVerify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

/**
 * Signatures as `ssh-keygen -Y sign` makes them (PROTOCOL.sshsig of OpenSSH), and the public keys that they are of:
 * Ed25519, ECDSA on the NIST curves, RSA of 2048 bits and more, and both kinds of security keys.
 */
export type SshSignature = {
  /** The public key in SSH's wire form, as the second word of a `.pub` file holds it in base64. */
  readonly publicKey: Buffer
  readonly namespace: string
  readonly hash: 'sha256' | 'sha512'
  /** Algorithm and value, in SSH's wire form. */
  readonly signature: Buffer
}

const magic = Buffer.from('SSHSIG')
const minRsaBits = 2048
const userWasPresent = 0x01

/** What an armored signature says; undefined for anything that is not one whole signature of version 1. */
export function parseSshSignature(text: string): SshSignature | undefined {
  const match = /^-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n?$/.exec(
    text.replaceAll('\r\n', '\n'),
  )
  if (match?.[1] === undefined) return undefined
  const bytes = Buffer.from(match[1].replaceAll('\n', ''), 'base64')
  if (!bytes.subarray(0, magic.length).equals(magic)) return undefined
  const read = new WireReader(bytes.subarray(magic.length))
  const version = read.number()
  const [publicKey, namespace, , hash, signature] = [0, 1, 2, 3, 4].map(() => read.string())
  if (version !== 1 || !read.isDone || publicKey === undefined || signature === undefined) return undefined
  const algorithm = hash?.toString('latin1')
  if (algorithm !== 'sha256' && algorithm !== 'sha512') return undefined
  return { publicKey, namespace: namespace?.toString('utf8') ?? '', hash: algorithm, signature }
}

/** True when the key in the signature signed `message` for this namespace. Whose key it is, the caller decides. */
export function verifySshSignature(one: SshSignature, message: Uint8Array, namespace: string): boolean {
  if (one.namespace !== namespace) return false
  const digest = createHash(one.hash).update(message).digest()
  const parts = [one.namespace, '', one.hash, digest].map((part) => wireString(Buffer.from(part)))
  try {
    return verifyWire(one, Buffer.concat([magic, ...parts]))
  } catch {
    return false // a key or a signature that node:crypto cannot take
  }
}

/** The key of a line of `authorized_keys` or of a `.pub` file; undefined when it is none that may sign. */
export function parseSshPublicKey(line: string): Buffer | undefined {
  const [type = '', base64 = ''] = line.trim().split(/\s+/)
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.length === 0 || bytes.toString('base64') !== base64) return undefined
  try {
    const key = parsePublicKey(bytes)
    const isWeak = type === 'ssh-rsa' && (key.object.asymmetricKeyDetails?.modulusLength ?? 0) < minRsaBits
    return key.type === type && !isWeak ? bytes : undefined
  } catch {
    return undefined
  }
}

/** `SHA256:…` as `ssh-keygen -l` prints it. */
export function sshFingerprint(publicKey: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(publicKey).digest('base64').replaceAll('=', '')}`
}

type ParsedKey = {
  readonly type: string
  readonly object: KeyObject
  /** Of a security key: what it signs for, part of what it signs. */
  readonly application: Buffer | undefined
}

const curves: Readonly<
  Record<string, { readonly name: string; readonly hash: string; readonly size: number }>
> = {
  nistp256: { name: 'P-256', hash: 'sha256', size: 32 },
  nistp384: { name: 'P-384', hash: 'sha384', size: 48 },
  nistp521: { name: 'P-521', hash: 'sha512', size: 66 },
}

function parsePublicKey(wire: Buffer): ParsedKey {
  const read = new WireReader(wire)
  const type = read.text()
  const plain = type.replace(/^sk-(.*)@openssh\.com$/, '$1')
  const object = readKey(plain, read)
  const application = plain === type ? undefined : read.required()
  if (!read.isDone) throw new RangeError('bytes behind a public key')
  return { type, object, application }
}

function readKey(type: string, read: WireReader): KeyObject {
  if (type === 'ssh-ed25519') return fromJwk({ kty: 'OKP', crv: 'Ed25519', x: base64url(read.required()) })
  if (type === 'ssh-rsa') {
    const e = base64url(read.unsigned())
    return fromJwk({ kty: 'RSA', e, n: base64url(read.unsigned()) })
  }
  const curve = curves[type.replace('ecdsa-sha2-', '')]
  if (curve === undefined || read.text() !== type.replace('ecdsa-sha2-', ''))
    throw new RangeError('no such key')
  const point = read.required()
  if (point.length !== 1 + 2 * curve.size || point[0] !== 4) throw new RangeError('no point of the curve')
  const x = base64url(point.subarray(1, 1 + curve.size))
  return fromJwk({ kty: 'EC', crv: curve.name, x, y: base64url(point.subarray(1 + curve.size)) })
}

function fromJwk(key: Readonly<Record<string, string>>): KeyObject {
  return createPublicKey({ key, format: 'jwk' })
}

function base64url(bytes: Buffer): string {
  return bytes.toString('base64url')
}

function verifyWire({ publicKey, signature }: SshSignature, signed: Buffer): boolean {
  const key = parsePublicKey(publicKey)
  const read = new WireReader(signature)
  const algorithm = read.text()
  const value = read.required()
  let message = signed
  if (key.application !== undefined) {
    const flags = read.byte()
    const counter = read.bytes(4)
    if ((flags & userWasPresent) === 0) return false
    message = Buffer.concat([sha256(key.application), Buffer.from([flags]), counter, sha256(signed)])
  }
  if (!read.isDone) return false
  if (key.type === 'ssh-rsa') {
    const hash = { 'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512' }[algorithm]
    return hash !== undefined && cryptoVerify(hash, message, key.object, value)
  }
  if (algorithm !== key.type) return false
  const curve = Object.entries(curves).find(([name]) => key.type.includes(name))?.[1]
  if (curve === undefined) return cryptoVerify(null, message, key.object, value)
  const numbers = new WireReader(value)
  const rs = [numbers.unsigned(), numbers.unsigned()].map((one) => leftPadded(one, curve.size))
  return cryptoVerify(curve.hash, message, { key: key.object, dsaEncoding: 'ieee-p1363' }, Buffer.concat(rs))
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function leftPadded(bytes: Buffer, size: number): Buffer {
  if (bytes.length > size) throw new RangeError('a number that is too large')
  return Buffer.concat([Buffer.alloc(size - bytes.length), bytes])
}

function wireString(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/** SSH's wire form (RFC 4251, section 5): every read past the end gives undefined or throws. */
class WireReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isDone(): boolean {
    return this.#at === this.#bytes.length
  }

  bytes(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw new RangeError('cut off')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  byte(): number {
    return this.bytes(1).readUInt8()
  }

  number(): number | undefined {
    return this.#at + 4 > this.#bytes.length ? undefined : this.bytes(4).readUInt32BE()
  }

  string(): Buffer | undefined {
    const length = this.number()
    return length === undefined || this.#at + length > this.#bytes.length ? undefined : this.bytes(length)
  }

  required(): Buffer {
    const value = this.string()
    if (value === undefined) throw new RangeError('cut off')
    return value
  }

  text(): string {
    return this.required().toString('latin1')
  }

  /** An mpint that is not negative, without the zero byte that keeps it so. */
  unsigned(): Buffer {
    const value = this.required()
    return value[0] === 0 ? value.subarray(1) : value
  }
}
