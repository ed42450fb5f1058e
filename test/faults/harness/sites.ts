import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PostgresServer } from '../../support/postgres.ts'
import {
  direct,
  opens,
  type SealedForm,
  type SealedRow,
  sealRow,
  ServerApplication,
} from '../../support/server-application.ts'
import {
  folderOfSites,
  makeWorkspace,
  type Workspace,
  type WorkspaceOptions,
} from '../../support/workspace.ts'
import { openReferenceVault } from '../../vault/reference-decoder.ts'
import { Site, type Slot } from './site.ts'

/** Records in a SQLite database. */
export class SqliteSite extends Site {
  readonly workspace: Workspace
  readonly key = 'master'
  readonly path: string
  readonly env: Readonly<Record<string, string>>

  constructor(workspace: Workspace) {
    super()
    this.workspace = workspace
    this.path = workspace.path
    this.env = workspace.env
  }

  static make(options: WorkspaceOptions): SqliteSite {
    return new SqliteSite(makeWorkspace(options))
  }

  /** `init` and the configuration; the key is not taken over yet. */
  initialised(): this {
    this.ok('init')
    this.workspace.writeConfig()
    return this
  }

  imported(): this {
    this.workspace.begin()
    return this
  }

  publishedKey(slot: Slot): Buffer | undefined {
    return this.workspace.publishedKey(slot)
  }

  async lost(keys: readonly Buffer[]): Promise<readonly string[]> {
    return await Promise.resolve(this.workspace.lost(keys).map(String))
  }
}

function newFolder(): string {
  return mkdtempSync(join(folderOfSites(), 'kvx-site-'))
}

function writeConfig(path: string, lines: readonly string[]): void {
  writeFileSync(join(path, 'kvx.yaml'), ['kvx: 1', ...lines, ''].join('\n'), { mode: 0o600 })
}

function sealGcm(key: Buffer, plaintext: string | Buffer): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function openGcm(key: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 })
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

/** How the files of a directory hold their secrets. */
type FileForm = {
  readonly purpose: 'data' | 'kek'
  readonly store: string
  readonly envelope: readonly string[]
  readonly write: (key: Buffer, text: string) => Buffer
  readonly read: (key: Buffer, bytes: Buffer) => string
}

/** Each file is one value under the data key. */
export const wholeFiles: FileForm = {
  purpose: 'data',
  store: '{ directory: data, match: "*.doc" }',
  envelope: ['value: { aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }'],
  write: sealGcm,
  read: (key, bytes) => openGcm(key, bytes).toString(),
}

type Document = { readonly dek: string; readonly value: string }

/** JSON documents with a wrapped DEK and a value under it. */
export const jsonFiles: FileForm = {
  purpose: 'kek',
  store: '{ directory: data, match: "*.doc", format: json }',
  envelope: [
    'dek: { column: dek, aead: aes-256-gcm, layout: "base64(nonce:12 ct tag:16)" }',
    'value: { column: value, aead: aes-256-gcm, layout: "base64(nonce:12 ct tag:16)" }',
  ],
  write: (key, text) => {
    const dek = randomBytes(32)
    const document: Document = {
      dek: sealGcm(key, dek).toString('base64'),
      value: sealGcm(dek, text).toString('base64'),
    }
    return Buffer.from(JSON.stringify(document))
  },
  read: (key, bytes) => {
    const { dek, value } = JSON.parse(bytes.toString()) as Document
    return openGcm(openGcm(key, Buffer.from(dek, 'base64')), Buffer.from(value, 'base64')).toString()
  },
}

const files = 8

/** Records that are files of a directory. */
export class DirectorySite extends Site {
  readonly path = newFolder()
  readonly env = { HOME: this.path, GNUPGHOME: join(this.path, 'no-gnupg'), LC_ALL: 'C' }
  readonly key = 'master'
  private readonly form: FileForm

  constructor(form: FileForm) {
    super()
    this.form = form
    const first = randomBytes(32)
    for (const folder of ['keys', 'data']) mkdirSync(this.file(folder))
    writeFileSync(this.file('keys/app.key'), first, { mode: 0o640 })
    for (let id = 1; id <= files; id++)
      writeFileSync(this.file(`data/${id}.doc`), form.write(first, `secret of ${id}.doc`), { mode: 0o640 })
    this.ok('init', '--no-input')
    writeConfig(this.path, [
      `keys: { master: { purpose: ${form.purpose}, publish: [{ file: keys/app.key, previous: keys/app.key.previous, encoding: raw }] } }`,
      `stores: { docs: ${form.store} }`,
      'envelopes:',
      '  docs.files:',
      '    store: docs',
      '    key: master',
      ...form.envelope.map((line) => `    ${line}`),
    ])
    this.ok('key', 'import', 'master')
  }

  publishedKey(slot: Slot): Buffer | undefined {
    const path = this.file(slot === 'current' ? 'keys/app.key' : 'keys/app.key.previous')
    return existsSync(path) ? readFileSync(path) : undefined
  }

  async lost(keys: readonly Buffer[]): Promise<readonly string[]> {
    const names = Array.from({ length: files }, (_, index) => `${index + 1}.doc`)
    const opens = (name: string, key: Buffer): boolean => {
      try {
        return this.form.read(key, readFileSync(this.file('data', name))) === `secret of ${name}`
      } catch {
        return false
      }
    }
    const isThere = (name: string): boolean =>
      !this.missing.includes(name) || existsSync(this.file('data', name))
    return await Promise.resolve(
      names.filter((name) => isThere(name) && !keys.some((key) => opens(name, key))),
    )
  }
}

/** A vault, opened by the second implementation of its format. */
export class VaultSite extends Site {
  readonly path = newFolder()
  readonly env = { HOME: this.path }
  readonly key = 'tk'
  /** What the vault may hold, besides what it began with. */
  readonly contents: string[]

  constructor(first: Readonly<Record<string, unknown>>) {
    super()
    this.contents = [JSON.stringify(first)]
    for (const folder of ['keys', 'vaults']) mkdirSync(this.file(folder))
    this.ok('init', '--no-input')
    writeConfig(this.path, [
      'keys: { tk: { purpose: vault, publish: [{ file: keys/tk.key, previous: keys/tk.key.previous }] } }',
      'vaults: { tk: { directory: vaults, key: tk } }',
    ])
    this.ok('keygen', 'tk')
    writeFileSync(this.file('first.json'), JSON.stringify(first), { mode: 0o600 })
    this.ok('vault', 'import', 'tk', '--from', this.file('first.json'))
  }

  publishedKey(slot: Slot): Buffer | undefined {
    const path = this.file(slot === 'current' ? 'keys/tk.key' : 'keys/tk.key.previous')
    return existsSync(path) ? readFileSync(path) : undefined
  }

  /** What the vault holds under one of these keys; undefined where none opens it. */
  content(keys: readonly Buffer[]): string | undefined {
    const bytes = readFileSync(this.file('vaults/tk.enc'))
    for (const key of keys) {
      try {
        const text = openReferenceVault(bytes, key).plaintext.toString()
        return JSON.stringify(JSON.parse(text))
      } catch {
        // another key, or none
      }
    }
    return undefined
  }

  async lost(keys: readonly Buffer[]): Promise<readonly string[]> {
    if (!existsSync(this.file('vaults/tk.enc'))) return ['tk']
    const content = this.content(keys)
    return await Promise.resolve(content !== undefined && this.contents.includes(content) ? [] : ['tk'])
  }
}

const serverRows = 12

/** How the rows of a server hold their secrets. */
export type RowForm = {
  readonly of: SealedForm | undefined
  readonly seal: (key: Buffer) => Omit<SealedRow, 'dek_encrypted'> & { readonly dek_encrypted: Buffer | null }
  readonly opens: (key: Buffer, row: SealedRow) => boolean
}

export const wrappedRows: RowForm = { of: undefined, seal: sealRow, opens }

export const directRows: RowForm = {
  of: direct,
  seal: (key) => {
    const id = randomUUID()
    return { id, enc_blob: sealGcm(key, `secret of ${id}`), dek_encrypted: null }
  },
  opens: (key, { id, enc_blob: blob }) => {
    try {
      return openGcm(key, blob).toString() === `secret of ${id}`
    } catch {
      return false
    }
  },
}

/** Records in a PostgreSQL server of the harness. */
export class PostgresSite extends Site {
  readonly app: ServerApplication
  readonly key = 'master'
  readonly path: string
  readonly env: Readonly<Record<string, string>>
  readonly socket: string
  readonly url: string
  private readonly server: PostgresServer
  private readonly form: RowForm

  private constructor(
    server: PostgresServer,
    { app, url, form }: { app: ServerApplication; url: string; form: RowForm },
  ) {
    super()
    this.form = form
    this.server = server
    this.app = app
    this.url = url
    this.path = app.path
    this.env = app.env
    this.socket = server.socket
  }

  /** @param through the folder of a proxy's socket that kvx uses in place of the server's own */
  static async make(
    server: PostgresServer,
    {
      through = server.socket,
      form = wrappedRows,
    }: { readonly through?: string; readonly form?: RowForm } = {},
  ): Promise<PostgresSite> {
    const kek = randomBytes(32)
    const url = await server.createDatabase()
    await server.sql(url, 'CREATE TABLE secrets (id uuid PRIMARY KEY, enc_blob bytea, dek_encrypted bytea)')
    for (let count = 0; count < serverRows; count++) {
      const { id, enc_blob, dek_encrypted } = form.seal(kek)
      await server.sql(url, 'INSERT INTO secrets VALUES ($1, $2, $3)', [id, enc_blob, dek_encrypted])
    }
    const address = url.replace(server.socket, through)
    const app = new ServerApplication(
      kek,
      '{ postgres: "${DATABASE_URL}" }',
      { DATABASE_URL: address },
      form.of,
    )
    const site = new PostgresSite(server, { app, url, form })
    // A proxy lives in this process, so that it must not wait for the commands.
    for (const args of [['init'], ['key', 'import', 'master']]) {
      const config = readFileSync(site.file('kvx.yaml'))
      if (args[0] === 'init') rmSync(site.file('kvx.yaml'))
      const { exit, said } = await site.start(...args)
      if (exit !== 0) throw new Error(`kvx ${args.join(' ')} ended with ${exit}: ${said}`)
      writeFileSync(site.file('kvx.yaml'), config, { mode: 0o600 })
    }
    return site
  }

  /** Runs kvx beside this process. */
  async start(...args: readonly string[]): Promise<{ readonly exit: number | null; readonly said: string }> {
    const child = this.app.start(...args)
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (said += text))
    const [exit] = (await once(child, 'close')) as [number | null]
    return { exit, said }
  }

  publishedKey(slot: Slot): Buffer | undefined {
    const key = this.app.kek(slot === 'current' ? 'LOCAL_KEK_BASE64' : 'LOCAL_KEK_BASE64_OLD')
    return key.length === 0 ? undefined : key
  }

  async lost(keys: readonly Buffer[]): Promise<readonly string[]> {
    const rows = (await this.server.sql(this.url, 'SELECT * FROM secrets')) as SealedRow[]
    const lost = rows.filter((row) => !keys.some((key) => this.form.opens(key, row))).map(({ id }) => id)
    const there = new Set(rows.map(({ id }) => id))
    const isWhole = rows.length + this.missing.filter((id) => !there.has(id)).length === serverRows
    return isWhole ? lost : [...lost, `${rows.length} of ${serverRows} rows`]
  }

  /** Takes some rows away, as an accident does. */
  async lose(count: number): Promise<void> {
    const rows = await this.server.sql(this.url, 'SELECT id FROM secrets ORDER BY id LIMIT $1', [count])
    this.missing = rows.map((row) => String(row['id']))
    await this.server.sql(this.url, 'DELETE FROM secrets WHERE id = ANY($1)', [this.missing])
  }

  async ids(): Promise<readonly string[]> {
    return (await this.server.sql(this.url, 'SELECT id FROM secrets')).map((row) => String(row['id']))
  }

  override async keep(): Promise<void> {
    await super.keep()
    await this.server.sql(
      this.url,
      'CREATE SCHEMA IF NOT EXISTS kept; DROP TABLE IF EXISTS kept.secrets; CREATE TABLE kept.secrets AS SELECT * FROM secrets',
    )
  }

  override async reset(): Promise<void> {
    await super.reset()
    await this.server.sql(
      this.url,
      'BEGIN; TRUNCATE secrets; INSERT INTO secrets SELECT * FROM kept.secrets; COMMIT',
    )
  }
}
