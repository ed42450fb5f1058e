import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { kvxJson, type KvxDocument } from '../support/cli.ts'

export const gcm = 'nonce:12 ct tag:16'
export const without = ['--without-backup', '--reason', 'a test'] as const

export function seal(key: Buffer, plaintext: Buffer | string, aad = ''): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.from(aad))
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

export function open(key: Buffer, sealed: Uint8Array, aad = ''): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 })
  decipher.setAAD(Buffer.from(aad))
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

export class Site {
  readonly path = mkdtempSync(join(tmpdir(), 'kvx-shape-'))
  readonly key = randomBytes(32)
  readonly #database: DatabaseSync

  constructor(schema: string, envelopes: Record<string, unknown>, purpose = 'kek') {
    this.#database = new DatabaseSync(join(this.path, 'app.db'))
    this.#database.exec(schema)
    this.configure(envelopes, purpose)
    writeFileSync(join(this.path, 'configured.key'), this.key, { mode: 0o600 })
    this.ok('init')
    this.ok('key', 'import', 'k', '--from', 'file:configured.key')
  }

  configure(envelopes: Record<string, unknown>, purpose = 'kek'): void {
    const config = { kvx: 1, keys: { k: { purpose } }, stores: { app: { sqlite: 'app.db' } }, envelopes }
    writeFileSync(join(this.path, 'kvx.yaml'), JSON.stringify(config), { mode: 0o600 })
  }

  run(sql: string, ...values: (string | Buffer | number | null)[]): void {
    this.#database.prepare(sql).run(...values)
  }

  rows(sql: string): readonly Record<string, unknown>[] {
    return this.#database.prepare(sql).all()
  }

  json<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    return kvxJson<T>(args, { cwd: this.path, env: { HOME: this.path } })
  }

  ok<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    const document = this.json<T>(...args)
    if (document.exit === 0) return document
    throw new Error(`kvx ${args.join(' ')}: ${document.exit} ${JSON.stringify(document.error)}`)
  }

  rotate(): Buffer {
    this.ok('rotate', 'k', '--offline', '--yes', ...without)
    return readFileSync(join(this.path, '.kvx/keys/k.v2.key'))
  }

  byVersion(): readonly Readonly<Record<string, number>>[] {
    type Census = { readonly envelopes: readonly { readonly byVersion: Readonly<Record<string, number>> }[] }
    return this.ok<Census>('verify').data.envelopes.map(({ byVersion }) => byVersion)
  }

  close(): void {
    this.#database.close()
    rmSync(this.path, { recursive: true, force: true })
  }
}

const sites: Site[] = []

export function closeSites(): void {
  for (const site of sites.splice(0)) site.close()
}

export function makeSite(schema: string, envelopes: Record<string, unknown>, purpose?: string): Site {
  const site = new Site(schema, envelopes, purpose)
  sites.push(site)
  return site
}

/** The files below a folder that hold a text as it is. */
export function filesWith(path: string, text: string): readonly string[] {
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => {
    const file = join(path, name)
    return statSync(file).isFile() && readFileSync(file).includes(text)
  })
}
