import { KvxError } from '../core/errors.ts'
import { isKeyName, type KeyPurpose } from './plaintext.ts'

export const manifestSchema = 'kvx.backup.manifest/1'

/** `untested` opens no gate. */
export type BackupState = 'untested' | 'tested' | 'confirmed'

export type ManifestRecipient = {
  readonly fingerprint: string
  readonly userId: string
  readonly subkey: string
  readonly expires: string | null
}

/** What everybody may know about one backup. Times are UTC, fingerprints of the key and digests lower-case hex. */
export type BackupManifest = {
  readonly schema: typeof manifestSchema
  readonly id: string
  readonly name: string
  readonly version: number
  readonly purpose: KeyPurpose
  readonly fingerprint: string
  readonly checkValue: string
  readonly created: string
  /** Name of the encrypted file, which lies beside the manifest. */
  readonly file: string
  readonly sha256: string
  readonly recipients: readonly ManifestRecipient[]
  readonly receiptSha256: string
  readonly state: BackupState
  readonly testedAt: string | null
  /** Fingerprints of the subkeys that opened it. */
  readonly testedWith: readonly string[]
  readonly confirmedAt: string | null
  readonly confirmedBy: string | null
  readonly kvxVersion: string
  /** Fingerprint of the public key that signed this. */
  readonly auditKeyFingerprint: string
}

/** The home's audit key. Signs the canonical bytes as they are; the schema in them keeps the domains apart. */
export type Signer = { readonly publicKeyFingerprint: string; sign(bytes: Uint8Array): Uint8Array }

/** Whether a signature holds, and `unknown` for one of a key that this home does not know. */
export type Verifier = (
  bytes: Uint8Array,
  signature: Uint8Array,
  publicKeyFingerprint: string,
) => 'valid' | 'invalid' | 'unknown'

/** A manifest as it was read. */
export type SignedManifest = { readonly manifest: BackupManifest; readonly signature: Uint8Array | undefined }

export type SignatureVerdict = 'valid' | 'invalid' | 'unknown' | 'unsigned'

/** The bytes that are signed: JSON without white space, properties sorted by code unit, UTF-8. */
export function canonicalManifest(manifest: BackupManifest): Uint8Array {
  return Buffer.from(JSON.stringify(sorted(manifest)))
}

/** Signs a manifest and returns the bytes of its file. */
export function encodeManifest(manifest: BackupManifest, signer: Signer): Buffer {
  const signed = { ...manifest, auditKeyFingerprint: signer.publicKeyFingerprint }
  const signature = Buffer.from(signer.sign(canonicalManifest(signed))).toString('base64')
  return Buffer.from(`${JSON.stringify({ ...signed, signature }, undefined, 2)}\n`)
}

export function verifyManifest(signed: SignedManifest, verify: Verifier | undefined): SignatureVerdict {
  if (signed.signature === undefined) return 'unsigned'
  if (verify === undefined) return 'unknown'
  return verify(canonicalManifest(signed.manifest), signed.signature, signed.manifest.auditKeyFingerprint)
}

/**
 * Parses the file of a manifest. Properties that are not known are refused: they would not be signed.
 * @param named the file, for messages
 * @throws KvxError DAMAGED
 */
export function parseManifest(bytes: Uint8Array, named: string): SignedManifest {
  const { signature, ...fields } = parseObject(bytes, named)
  const read = new FieldReader(fields, named)
  const manifest: BackupManifest = {
    schema: read.oneOf('schema', [manifestSchema]),
    id: read.text('id', /^[0-9A-Z]{8}$/),
    name: read.keyName('name'),
    version: read.version('version'),
    purpose: read.oneOf('purpose', ['kek', 'data', 'vault']),
    fingerprint: read.text('fingerprint', hex64),
    checkValue: read.text('checkValue', /^[0-9A-F]{10}$/),
    created: read.text('created', time),
    file: read.text('file', /^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/),
    sha256: read.text('sha256', hex64),
    recipients: read.list('recipients').map((entry) => parseRecipient(entry, named)),
    receiptSha256: read.text('receiptSha256', hex64),
    state: read.oneOf('state', ['untested', 'tested', 'confirmed']),
    testedAt: read.optionalText('testedAt', time),
    testedWith: read
      .list('testedWith')
      .map((entry) => new FieldReader({ entry }, named).text('entry', keyFingerprint)),
    confirmedAt: read.optionalText('confirmedAt', time),
    confirmedBy: read.optionalText('confirmedBy', line),
    kvxVersion: read.text('kvxVersion', line),
    auditKeyFingerprint: read.text('auditKeyFingerprint', line),
  }
  read.requireNothingElse()
  if (manifest.fingerprint.slice(0, 10).toUpperCase() !== manifest.checkValue)
    throw damaged(named, 'checkValue')
  return { manifest, signature: parseSignature(signature, named) }
}

const hex64 = /^[0-9a-f]{64}$/
const keyFingerprint = /^[0-9A-F]{40,64}$/
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/
const line = /^[^\p{Cc}]{1,200}$/u

function parseRecipient(entry: unknown, named: string): ManifestRecipient {
  if (!isObject(entry)) throw damaged(named, 'recipients')
  const read = new FieldReader(entry, named)
  const recipient = {
    fingerprint: read.text('fingerprint', keyFingerprint),
    userId: read.text('userId', /^[^\p{Cc}]{0,400}$/u),
    subkey: read.text('subkey', keyFingerprint),
    expires: read.optionalText('expires', time),
  }
  read.requireNothingElse()
  return recipient
}

function parseSignature(value: unknown, named: string): Uint8Array | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'string' && /^[A-Za-z0-9+/]{1,4096}={0,2}$/.test(value))
    return Buffer.from(value, 'base64')
  throw damaged(named, 'signature')
}

function parseObject(bytes: Uint8Array, named: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw damaged(named)
  }
  if (!isObject(value)) throw damaged(named)
  return value
}

/** Reads the properties of an object one by one and knows which were never asked for. */
class FieldReader {
  readonly #fields: Readonly<Record<string, unknown>>
  readonly #named: string
  readonly #seen = new Set<string>()

  constructor(fields: Readonly<Record<string, unknown>>, named: string) {
    this.#fields = fields
    this.#named = named
  }

  text(field: string, pattern: RegExp): string {
    const value = this.#take(field)
    if (typeof value === 'string' && pattern.test(value)) return value
    throw damaged(this.#named, field)
  }

  optionalText(field: string, pattern: RegExp): string | null {
    return this.#take(field) === null ? null : this.text(field, pattern)
  }

  keyName(field: string): string {
    const name = this.text(field, line)
    if (!isKeyName(name)) throw damaged(this.#named, field)
    return name
  }

  version(field: string): number {
    const value = this.#take(field)
    if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value
    throw damaged(this.#named, field)
  }

  oneOf<T extends string>(field: string, values: readonly T[]): T {
    const value = this.#take(field)
    const found = values.find((candidate) => candidate === value)
    if (found === undefined) throw damaged(this.#named, field)
    return found
  }

  list(field: string): readonly unknown[] {
    const value = this.#take(field)
    if (Array.isArray(value) && value.length <= 256) return value
    throw damaged(this.#named, field)
  }

  requireNothingElse(): void {
    const unknown = Object.keys(this.#fields).find((field) => !this.#seen.has(field))
    if (unknown !== undefined) throw damaged(this.#named, 'one that kvx does not know')
  }

  #take(field: string): unknown {
    this.#seen.add(field)
    return this.#fields[field]
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Arrays keep their order, objects are sorted. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  )
}

function damaged(named: string, field?: string): KvxError {
  const where = field === undefined ? 'it is not JSON' : `its property ${field} is not as it must be`
  return new KvxError('DAMAGED', `cannot read the manifest ${named}: ${where}`, {
    hint: 'the encrypted backup beside it still opens: `kvx restore --from gpg FILE`',
  })
}
