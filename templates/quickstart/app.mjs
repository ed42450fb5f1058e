// The application of the quickstart: a small program with its own envelope encryption, as many applications have
// one. It knows nothing of kvx, and kvx's code has no part in it.
//
//   node app.mjs seal DATABASE ENV_FILE COUNT    makes the table and seals COUNT secrets
//   node app.mjs read DATABASE ENV_FILE          opens every secret with the key of the env file
//
// Each secret has a data key of its own. The data key is wrapped under the KEK of the env file (AES-256-GCM,
// nonce first, tag last), the value is sealed under the data key and stored as base64, bound to its row's id.
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

const [, , command, databaseFile, envFile, count] = process.argv

function kekFrom(file) {
  const line = readFileSync(file, 'utf8')
    .split('\n')
    .find((text) => text.startsWith('APP_KEK='))
  const kek = Buffer.from((line ?? '').slice('APP_KEK='.length), 'base64')
  if (kek.length !== 32) throw new Error('APP_KEK is not 32 bytes in base64')
  return kek
}

function seal(key, plaintext, aad) {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(aad)
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function open(key, sealed, aad) {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 })
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

const none = Buffer.alloc(0)
const boundTo = (id) => Buffer.from(`secrets|${id}`)
const valueOf = (id) => Buffer.from(`secret number ${id}`)

const database = new DatabaseSync(databaseFile)
const kek = kekFrom(envFile)

if (command === 'seal') {
  database.exec('CREATE TABLE secrets (id INTEGER PRIMARY KEY, name TEXT, wrapped_dek BLOB, ciphertext TEXT)')
  const insert = database.prepare('INSERT INTO secrets VALUES (?, ?, ?, ?)')
  database.exec('BEGIN')
  for (let id = 1; id <= Number(count); id++) {
    const dek = randomBytes(32)
    insert.run(
      id,
      `secret-${id}`,
      seal(kek, dek, none),
      seal(dek, valueOf(id), boundTo(id)).toString('base64'),
    )
  }
  database.exec('COMMIT')
} else {
  let opened = 0
  let failed = 0
  const digest = createHash('sha256')
  for (const row of database.prepare('SELECT * FROM secrets ORDER BY id').all()) {
    try {
      const dek = open(kek, Buffer.from(row.wrapped_dek), none)
      const value = open(dek, Buffer.from(row.ciphertext, 'base64'), boundTo(row.id))
      if (!value.equals(valueOf(row.id))) throw new Error('another value')
      digest.update(value)
      opened++
    } catch {
      failed++
    }
  }
  console.log(JSON.stringify({ opened, failed, digest: digest.digest('hex') }))
}
