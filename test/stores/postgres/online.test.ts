import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { Client } from 'pg'
import { expect, it, onTestFinished } from 'vitest'
import { untested } from '../../support/rotations.ts'
import { ServerApplication } from '../../support/server-application.ts'
import { usePostgres } from './fixture.ts'

const postgres = usePostgres()
const rows = 400

type Sealed = { readonly enc_blob: Buffer; readonly dek_encrypted: Buffer }

function seal(kek: Buffer, text: string): Sealed {
  const [dek, nonce, wrapNonce] = [randomBytes(32), randomBytes(12), randomBytes(24)]
  const cipher = createCipheriv('aes-256-gcm', dek, nonce)
  const ct = Buffer.concat([cipher.update(text), cipher.final()])
  return {
    enc_blob: Buffer.concat([nonce, ct, cipher.getAuthTag()]),
    dek_encrypted: Buffer.concat([wrapNonce, xchacha20poly1305(kek, wrapNonce).encrypt(dek)]),
  }
}

/** What the record holds, opened with whichever of the application's keys does it. */
function open(
  keks: readonly Buffer[],
  { enc_blob: blob, dek_encrypted: wrapped }: Sealed,
): string | undefined {
  for (const kek of keks) {
    try {
      const dek = xchacha20poly1305(kek, wrapped.subarray(0, 24)).decrypt(wrapped.subarray(24))
      const decipher = createDecipheriv('aes-256-gcm', dek, blob.subarray(0, 12), { authTagLength: 16 })
      decipher.setAuthTag(blob.subarray(-16))
      return Buffer.concat([decipher.update(blob.subarray(12, -16)), decipher.final()]).toString()
    } catch {
      continue
    }
  }
  return undefined
}

/** An application that reads and writes all the time, and remembers what it wrote last. */
class Writer {
  readonly last = new Map<string, string>()
  readonly ids: string[] = []
  garbage = 0
  writes = 0
  sealsWith: Buffer
  readonly #client: Client
  readonly #opensWith: () => readonly Buffer[]
  #stopped = false

  constructor(url: string, sealsWith: Buffer, opensWith: () => readonly Buffer[]) {
    this.#client = new Client({ connectionString: url })
    this.sealsWith = sealsWith
    this.#opensWith = opensWith
  }

  async fill(): Promise<void> {
    await this.#client.connect()
    await this.#client.query(
      'CREATE TABLE secrets (id uuid PRIMARY KEY, enc_blob bytea, dek_encrypted bytea)',
    )
    for (let count = 0; count < rows; count++) await this.#insert()
  }

  async #insert(): Promise<void> {
    const id = randomUUID()
    const text = `${id} 0`
    const { enc_blob, dek_encrypted } = seal(this.sealsWith, text)
    await this.#client.query('INSERT INTO secrets VALUES ($1, $2, $3)', [id, enc_blob, dek_encrypted])
    this.ids.push(id)
    this.last.set(id, text)
  }

  async #read(id: string): Promise<void> {
    const { rows: found } = await this.#client.query<Sealed>('SELECT * FROM secrets WHERE id = $1', [id])
    if (found[0] === undefined || open(this.#opensWith(), found[0]) !== this.last.get(id)) this.garbage++
  }

  async #write(id: string): Promise<void> {
    const text = `${id} ${++this.writes}`
    const { enc_blob, dek_encrypted } = seal(this.sealsWith, text)
    await this.#client.query('UPDATE secrets SET enc_blob = $2, dek_encrypted = $3 WHERE id = $1', [
      id,
      enc_blob,
      dek_encrypted,
    ])
    this.last.set(id, text)
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      const id = this.ids[Math.floor(Math.random() * this.ids.length)] ?? ''
      await this.#read(id)
      await this.#write(id)
      if (this.writes % 10 === 0) await this.#insert()
    }
  }

  stop(): void {
    this.#stopped = true
  }

  /** Records whose content is not what was written last. */
  async lost(): Promise<number> {
    const { rows: found } = await this.#client.query<Sealed & { id: string }>('SELECT * FROM secrets')
    return found.filter((row) => open(this.#opensWith(), row) !== this.last.get(row.id)).length
  }

  async close(): Promise<void> {
    await this.#client.end()
  }
}

it('an application that writes under the old key all the time loses no write and reads no garbage', async () => {
  const kek = randomBytes(32)
  const url = await postgres.server.createDatabase()
  const app = new ServerApplication(kek, '{ postgres: "${DATABASE_URL}" }', { DATABASE_URL: url })
  onTestFinished(() => app.close())
  app.begin()
  const writer = new Writer(url, kek, () =>
    [app.kek(), app.kek('LOCAL_KEK_BASE64_OLD'), kek].filter(({ length }) => length === 32),
  )
  await writer.fill()
  onTestFinished(async () => writer.close())
  app.ok('rotate', 'master', '--offline', '--yes', ...untested)
  const running = writer.run()
  const rewrap = app.start('rewrap', '--yes', '--batch', '25')
  const ended = new Promise<number | null>((done) => rewrap.on('close', done))
  // It still has the old key for a while, as a process that was not restarted yet.
  await sleep(1500)
  writer.sealsWith = app.kek()
  const exit = await ended
  writer.stop()
  await running
  if (exit !== 0) app.ok('run', 'resume')
  expect(writer.writes).toBeGreaterThan(100)
  expect([writer.garbage, await writer.lost()]).toEqual([0, 0])
  app.ok('verify')
  app.ok('rewrap', '--yes')
  app.ok('retire', 'master@1', '--confirm', 'master@1')
})
