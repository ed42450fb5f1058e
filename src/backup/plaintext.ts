import { KvxError } from '../core/errors.ts'
import { checkValueOf, fingerprintOf } from '../core/fingerprint.ts'
import { Secret } from '../core/secret.ts'
import { base64Length, decodeBase64, writeBase64 } from './base64.ts'
import { normalReceipt } from './codes.ts'

export type KeyPurpose = 'kek' | 'data' | 'vault'

/** What a backup is about. `material` is lent, never kept. */
export type BackupContent = {
  readonly name: string
  readonly version: number
  readonly purpose: KeyPurpose
  /** UTC, `2026-01-01T00:00:00Z` */
  readonly created: string
  readonly material: Secret
  readonly receipt: string
}

/** An opened backup. The caller wipes `material`. */
export type BackupText = BackupContent & { readonly fingerprint: string }

const firstLine = 'kvx-kek-backup v1'

/** In this order, one a line. */
const fields = [
  'key',
  'version',
  'purpose',
  'algorithm',
  'created',
  'fingerprint',
  'check-value',
  'encoding',
  'key-base64',
  'receipt',
] as const

type Field = (typeof fields)[number]

const keyName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const maxMaterial = 512

/** True for a name that may become part of a file name and of a line of text. */
export function isKeyName(name: string): boolean {
  return keyName.test(name) && !name.includes('..')
}

/**
 * The text that is encrypted: self-describing, for a person who has gpg and has never seen kvx. Built in one
 * buffer of its own, outside Node's pool; the key is in it as base64 and never in a string. The caller wipes it.
 */
export function encodeBackupText(content: BackupContent): Buffer {
  const fingerprint = fingerprintOf(content.material)
  const size = content.material.length
  const before = [
    firstLine,
    `key: ${content.name}`,
    `version: ${content.version}`,
    `purpose: ${content.purpose}`,
    `algorithm: symmetric key of ${size * 8} bits`,
    `created: ${content.created}`,
    `fingerprint: ${fingerprint}`,
    `check-value: ${checkValueOf(fingerprint)}`,
    `encoding: base64 (RFC 4648, with padding) of the ${size} raw bytes of the key`,
    'key-base64: ',
  ].join('\n')
  const after = `\nreceipt: ${normalReceipt(content.receipt)}\n\n${instructions(size)}`
  const text = Buffer.allocUnsafeSlow(
    Buffer.byteLength(before) + base64Length(size) + Buffer.byteLength(after),
  )
  const keyAt = text.write(before, 'utf8')
  const keyEnd = content.material.lend((bytes) => writeBase64(bytes, text, keyAt))
  text.write(after, keyEnd, 'utf8')
  return text
}

function instructions(size: number): string {
  return `This is the backup of an encryption key. Whoever reads the line key-base64 has the key.
kvx is not needed to use it. With gpg, and this message in the file BACKUP.asc:

  Get the key (${size} raw bytes; do it in a directory in memory such as /dev/shm):
    umask 077
    gpg --decrypt BACKUP.asc | sed -n 's/^key-base64: //p' | base64 -d > key.raw

  Check it against the line fingerprint above:
    python3 -c 'import hmac,sys; k=sys.stdin.buffer.read(); p=hmac.digest(bytes(32),k,"sha256"); print(hmac.digest(p,b"kvx/key-fingerprint/v1\\x01","sha256").hex())' < key.raw

If you were only asked whether you can open this backup: read back the line receipt, nothing else.
The code is no secret and proves that you hold a private key that opens this file.
Then close the window; don't save, copy or print this text.
`
}

/**
 * Parses the text of an opened backup and computes the fingerprint anew. Strict: every line in its place,
 * canonical base64, nothing that looks like a second key. `bytes` is left as it is; the caller wipes both.
 * @throws KvxError BACKUP_UNUSABLE; the message never repeats what was read
 */
export function parseBackupText(bytes: Uint8Array): BackupText {
  const lines = headLines(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  const text = (field: Field): string => (lines.get(field) ?? Buffer.alloc(0)).toString('utf8')
  const name = text('key')
  if (!isKeyName(name)) throw unusable('its line `key` holds no key name')
  const version = /^[1-9]\d{0,8}$/.test(text('version')) ? Number(text('version')) : 0
  if (version === 0) throw unusable('its line `version` holds no version')
  const purpose = parsePurpose(text('purpose'))
  const created = text('created')
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(created)) throw unusable('its line `created` holds no time')
  const receipt = parseReceiptLine(text('receipt'))
  const material = parseMaterial(lines.get('key-base64') ?? Buffer.alloc(0), text('encoding'))
  const fingerprint = fingerprintOf(material)
  if (fingerprint !== text('fingerprint') || checkValueOf(fingerprint) !== text('check-value')) {
    material.wipe()
    throw unusable('its key and its fingerprint do not belong together')
  }
  return { name, version, purpose, created, material, receipt, fingerprint }
}

/** The head up to the first empty line, as views of the same memory: no copy of the key is made. */
function headLines(text: Buffer): Map<Field, Buffer> {
  const lines = new Map<Field, Buffer>()
  let offset = 0
  const nextLine = (): Buffer => {
    const end = text.indexOf(0x0a, offset)
    if (end === -1) throw unusable('its text ends too early')
    const line = text.subarray(offset, end)
    offset = end + 1
    return line
  }
  if (!nextLine().equals(Buffer.from(firstLine))) throw unusable(`it does not begin with \`${firstLine}\``)
  for (const field of fields) {
    const line = nextLine()
    const label = Buffer.from(`${field}: `)
    if (!line.subarray(0, label.length).equals(label)) throw unusable(`its line \`${field}\` is missing`)
    lines.set(field, line.subarray(label.length))
  }
  if (nextLine().length !== 0) throw unusable('it has a line too many')
  if (text.includes('\nkey-base64:', offset)) throw unusable('it holds two keys')
  return lines
}

function parsePurpose(text: string): KeyPurpose {
  if (text === 'kek' || text === 'data' || text === 'vault') return text
  throw unusable('its line `purpose` holds no purpose')
}

function parseReceiptLine(text: string): string {
  try {
    if (normalReceipt(text) === text) return text
  } catch {
    // said below, in the words of a backup
  }
  throw unusable('its line `receipt` holds no receipt code')
}

function parseMaterial(base64: Buffer, encoding: string): Secret {
  const bytes = decodeBase64(base64)
  if (bytes === undefined) throw unusable('its line `key-base64` is not base64')
  const material = Secret.take(bytes)
  const announced = /of the (\d+) raw bytes/.exec(encoding)?.[1]
  if (material.length <= maxMaterial && announced === String(material.length)) return material
  material.wipe()
  throw unusable('its key does not have the length that its line `encoding` says')
}

function unusable(why: string): KvxError {
  return new KvxError('BACKUP_UNUSABLE', `the backup opens, but what is in it cannot be used: ${why}`, {
    hint: 'take another backup of this key: `kvx backup list`',
    details: { reason: 'content' },
  })
}
