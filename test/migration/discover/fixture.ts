import { createCipheriv, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { onTestFinished } from 'vitest'
import { storeSchema, locateStore } from '../../../src/config/stores.ts'
import { Secret } from '../../../src/core/secret.ts'
import { discover } from '../../../src/migration/discover/discover.ts'
import type { Declared } from '../../../src/migration/discover/declared.ts'
import type { Discovery, TrialKey } from '../../../src/migration/discover/find.ts'
import { openStore } from '../../../src/stores/open-store.ts'

export type Parts = { readonly nonce: Buffer; readonly ct: Buffer; readonly tag: Buffer }

export function gcm(key: Buffer, text: string | Buffer, nonceLength = 12, aad = ''): Parts {
  const nonce = randomBytes(nonceLength)
  const name = key.length === 32 ? 'aes-256-gcm' : key.length === 24 ? 'aes-192-gcm' : 'aes-128-gcm'
  const cipher = createCipheriv(name, key, nonce)
  cipher.setAAD(Buffer.from(aad))
  const ct = Buffer.concat([cipher.update(text), cipher.final()])
  return { nonce, ct, tag: cipher.getAuthTag() }
}

export const blob = ({ nonce, ct, tag }: Parts): Buffer => Buffer.concat([nonce, ct, tag])

export type Row = Readonly<Record<string, SQLInputValue>>

export function newDirectory(): string {
  const directory = mkdtempSync('/var/tmp/kvx-discover-')
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** A database with one table, `t`, of these rows. */
export function databaseOf(rows: readonly Row[], ddl?: string): string {
  const path = join(newDirectory(), 'app.db')
  const database = new DatabaseSync(path)
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  database.exec(
    ddl ?? `CREATE TABLE t (${['id INTEGER PRIMARY KEY', ...columns.map((name) => `"${name}"`)].join(', ')})`,
  )
  const insert = database.prepare(
    `INSERT INTO t (${columns.map((name) => `"${name}"`).join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
  )
  database.exec('BEGIN')
  for (const row of rows) insert.run(...columns.map((name) => row[name] ?? null))
  database.exec('COMMIT')
  database.close()
  return path
}

export const trialKey = (bytes: Buffer, name = 'master', version = 1): TrialKey => ({
  name,
  version,
  material: Secret.copy(bytes),
})

type Options = { readonly declared?: readonly Declared[]; readonly sample?: number }

/** What is found in a store as kvx.yaml writes it. */
export async function discoverIn(
  written: Record<string, unknown>,
  keys: readonly TrialKey[],
  { declared = [], sample = 200 }: Options = {},
): Promise<Discovery> {
  const config = locateStore(storeSchema.parse(written), (path) => path)
  const store = await openStore('app', config)
  try {
    const stores = [{ name: 'app', config, store }]
    const events = { progress: () => undefined }
    return await discover({ stores, declared, envelopes: [], keys, sample, events })
  } finally {
    await store.close()
  }
}
