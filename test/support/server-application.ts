import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { type CliResult, kvx, kvxJson, type KvxDocument, startKvx } from './cli.ts'
import { folderOfSites } from './workspace.ts'

/** A record as the application keeps it: a value under a DEK, and the DEK under the KEK of its environment. */
export type SealedRow = { readonly id: string; readonly enc_blob: Buffer; readonly dek_encrypted: Buffer }

export function sealRow(kek: Buffer, id = randomUUID()): SealedRow {
  const dek = randomBytes(32)
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', dek, nonce)
  const ct = Buffer.concat([cipher.update(`secret of ${id}`), cipher.final()])
  const wrapNonce = randomBytes(24)
  const wrapped = Buffer.from(xchacha20poly1305(kek, wrapNonce).encrypt(dek))
  return {
    id,
    enc_blob: Buffer.concat([nonce, ct, cipher.getAuthTag()]),
    dek_encrypted: Buffer.concat([wrapNonce, wrapped]),
  }
}

export function opens(kek: Buffer, row: SealedRow): boolean {
  try {
    const { enc_blob: blob, dek_encrypted: wrapped } = row
    const dek = xchacha20poly1305(kek, wrapped.subarray(0, 24)).decrypt(wrapped.subarray(24))
    const decipher = createDecipheriv('aes-256-gcm', dek, blob.subarray(0, 12))
    decipher.setAuthTag(blob.subarray(-16))
    const text = Buffer.concat([decipher.update(blob.subarray(12, -16)), decipher.final()]).toString()
    return text === `secret of ${row.id}`
  } catch {
    return false
  }
}

/** What `envelopes` says of the records of {@link sealRow}. */
const wrapped = {
  purpose: 'kek',
  places: [
    'dek:   { column: dek_encrypted, aead: xchacha20-poly1305, layout: "nonce:24 ct tag:16" }',
    'value: { column: enc_blob, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }',
  ],
} as const

/** Values that lie under the key itself. */
export const direct = {
  purpose: 'data',
  places: ['value: { column: enc_blob, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }'],
} as const

export type SealedForm = typeof wrapped | typeof direct

/** A folder with app.env, kvx.yaml and a home, for an application whose records lie in a database server. */
export class ServerApplication {
  readonly path = mkdtempSync(join(folderOfSites(), 'kvx-app-'))
  readonly env: Readonly<Record<string, string>>

  /**
   * @param store the store in flow style, e.g. `{ postgres: "${DATABASE_URL}" }`
   * @param env what kvx gets besides
   */
  constructor(
    kek: Buffer,
    store: string,
    env: Readonly<Record<string, string>>,
    { purpose, places }: SealedForm = wrapped,
  ) {
    this.env = { HOME: this.path, GNUPGHOME: join(this.path, 'no-gnupg'), LC_ALL: 'C', ...env }
    writeFileSync(join(this.path, 'app.env'), `LOCAL_KEK_BASE64=${kek.toString('base64')}\n`, { mode: 0o600 })
    const lines = [
      'kvx: 1',
      'keys:',
      '  master:',
      `    purpose: ${purpose}`,
      '    publish:',
      '      - { env-file: app.env, current: LOCAL_KEK_BASE64, previous: LOCAL_KEK_BASE64_OLD, encoding: base64 }',
      'stores:',
      `  app: ${store}`,
      'envelopes:',
      '  app.secrets:',
      '    store: app',
      '    table: secrets',
      '    id: id',
      '    key: master',
      ...places.map((place) => `    ${place}`),
      '',
    ]
    writeFileSync(join(this.path, 'kvx.yaml'), lines.join('\n'), { mode: 0o600 })
  }

  run(...args: string[]): CliResult {
    return kvx(args, { cwd: this.path, env: this.env })
  }

  json(...args: string[]): KvxDocument {
    return kvxJson(args, { cwd: this.path, env: this.env })
  }

  /** The command must end in 0; what it printed is in the failure. */
  ok(...args: string[]): KvxDocument {
    const document = this.json(...args)
    if (document.exit === 0) return document
    throw new Error(`kvx ${args.join(' ')} ended with ${document.exit}: ${JSON.stringify(document.error)}`)
  }

  start(...args: string[]) {
    return startKvx(args, { cwd: this.path, env: this.env })
  }

  /** `init` keeps the configuration that is there. */
  begin(): this {
    const config = readFileSync(join(this.path, 'kvx.yaml'))
    rmSync(join(this.path, 'kvx.yaml'))
    this.ok('init')
    writeFileSync(join(this.path, 'kvx.yaml'), config, { mode: 0o600 })
    this.ok('key', 'import', 'master')
    return this
  }

  kek(slot: 'LOCAL_KEK_BASE64' | 'LOCAL_KEK_BASE64_OLD' = 'LOCAL_KEK_BASE64'): Buffer {
    const text = readFileSync(join(this.path, 'app.env'), 'utf8')
    const value = new RegExp(`^${slot}=(.*)$`, 'm').exec(text)?.[1] ?? ''
    return Buffer.from(value, 'base64')
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
