import { aeadNamed, freshNonce, prepareKey } from '../core/aead/aead.ts'
import { KvxError } from '../core/errors.ts'
import { compileDerivation } from '../core/layout/derivation.ts'
import type { Cells, RecordId } from '../stores/store.ts'
import { decodeCells, encodeCell, encodeCells, type EncodedCell } from './cells.ts'
import type { BackupEntry } from './ciphertext-backup.ts'
import { joinedValues, type Envelope } from './envelope/envelope.ts'
import type { KeyBook } from './envelope/key-book.ts'
import { plaintextValues } from './envelope/seal-first.ts'

/**
 * Plaintext that a first sealing replaced, as the run's backup keeps it: sealed under the version that the run
 * seals with, so that nothing lies in the clear in the home. `nonce(12) ct tag(16)` in base64, AES-256-GCM with
 * HKDF-SHA256(material, salt "", info "kvx/run-backup/v1"), bound to run, envelope and record.
 */
export type PlainCells = { readonly version: number; readonly sealed: string }

type Place = { readonly run: string; readonly envelope: string; readonly id: RecordId }

const aead = aeadNamed('aes-256-gcm')
const derivation = compileDerivation('hkdf-sha256(salt="", info="kvx/run-backup/v1")')
const none = (): never => {
  throw new TypeError('the key is all that it is made of')
}

function sealPlain(book: KeyBook, version: number, cells: Cells, place: Place): PlainCells {
  const plaintext = Buffer.from(JSON.stringify(encodeCells(cells)))
  const nonce = freshNonce(aead)
  const key = keyFor(book, version)
  const { ct, tag } = aead.seal(key, nonce, plaintext, aadOf(place))
  key.wipe()
  plaintext.fill(0)
  return { version, sealed: Buffer.concat([nonce, ct, tag]).toString('base64') }
}

/** An entry whose declared values that are not sealed lie sealed in it. */
export function withoutPlaintext(
  envelope: Envelope,
  entry: BackupEntry,
  to: { readonly book: KeyBook; readonly version: number; readonly run: string },
): BackupEntry {
  if (!envelope.plaintext) return entry
  const declared = entry.joined === true ? joinedValues(envelope) : envelope
  const columns = plaintextValues(declared, { id: entry.id, cells: entry.row }).map(({ column }) => column)
  if (columns.length === 0) return entry
  const pick = (kept: boolean): Cells =>
    Object.fromEntries(Object.entries(entry.row).filter(([column]) => columns.includes(column) !== kept))
  const place = { run: to.run, envelope: envelope.name, id: entry.id }
  return { ...entry, row: pick(true), plain: sealPlain(to.book, to.version, pick(false), place) }
}

/** @throws DAMAGED, KEYRING_DAMAGED when the version is not at hand */
export function openPlain(book: KeyBook, { version, sealed }: PlainCells, place: Place): Cells {
  const bytes = Buffer.from(sealed, 'base64')
  const key = keyFor(book, version)
  const parts = { ct: bytes.subarray(12, -16), tag: bytes.subarray(-16) }
  const plaintext = bytes.length < 28 ? undefined : aead.open(key, bytes.subarray(0, 12), parts, aadOf(place))
  key.wipe()
  if (plaintext === undefined) {
    throw new KvxError('DAMAGED', `the backup of run ${place.run} does not open for one of its records`, {
      hint: 'It was moved or changed. Nothing was restored.',
    })
  }
  try {
    return decodeCells(
      JSON.parse(Buffer.from(plaintext).toString('utf8')) as Readonly<Record<string, EncodedCell>>,
    )
  } finally {
    plaintext.fill(0)
  }
}

function keyFor(book: KeyBook, version: number): ReturnType<typeof prepareKey> {
  const material = book.deriveFor(version, derivation, { cell: none, newCell: none, part: none })
  try {
    return prepareKey(aead, material)
  } finally {
    material.wipe()
  }
}

function aadOf({ run, envelope, id }: Place): Buffer {
  return Buffer.from(JSON.stringify([run, envelope, id.map(encodeCell)]))
}
