import { createCipheriv, createSecretKey, randomBytes, randomUUID } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import type { Client } from 'pg'

/** A record as most applications have it: a value under a DEK of its own, the DEK under the KEK, both AES-256-GCM. */
export type Sealed = { readonly id: string; readonly value: Buffer; readonly dek: Buffer }

export const envelope = [
  '    dek:   { column: dek, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }',
  '    value: { column: value, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }',
]

function seal(key: Buffer, text: Buffer): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), nonce)
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()])
}

export function sealedRecord(kek: Buffer): Sealed {
  const dek = randomBytes(32)
  const id = randomUUID()
  return { id, value: seal(dek, Buffer.from(`secret of ${id}`)), dek: seal(kek, dek) }
}

export function fillSqlite(path: string, kek: Buffer, rows: number): void {
  const database = new DatabaseSync(path)
  database.exec('CREATE TABLE secrets (id INTEGER PRIMARY KEY, value BLOB, dek BLOB); BEGIN')
  const insert = database.prepare('INSERT INTO secrets (value, dek) VALUES (?, ?)')
  for (let at = 0; at < rows; at++) {
    const { value, dek } = sealedRecord(kek)
    insert.run(value, dek)
  }
  database.exec('COMMIT')
  database.close()
}

export async function fillPostgres(client: Client, kek: Buffer, rows: number): Promise<void> {
  await client.query('CREATE TABLE secrets (id uuid PRIMARY KEY, value bytea, dek bytea)')
  const piece = 2000
  for (let at = 0; at < rows; at += piece) {
    const made = Array.from({ length: Math.min(piece, rows - at) }, () => sealedRecord(kek))
    await client.query('INSERT INTO secrets SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bytea[])', [
      made.map(({ id }) => id),
      made.map(({ value }) => value),
      made.map(({ dek }) => dek),
    ])
  }
}
