import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { kvxJson, type KvxDocument } from '../support/cli.ts'
import { declarations, type Declared } from '../core/layout/declared.ts'
import {
  bytesOfCell,
  objectOf,
  textOf,
  vectorNamed,
  type Json,
  type JsonObject,
} from '../core/layout/vector-reader.ts'

/** What a declaration at core level leaves to the envelope: how versions are named, and what legacy values become. */
export type Extra = {
  readonly version?: unknown
  readonly number?: number
  /** Members of the wrapped DEK and of the value. */
  readonly wrap?: Readonly<Record<string, unknown>>
  readonly data?: Readonly<Record<string, unknown>>
  readonly make?: Readonly<Record<string, number>>
  readonly encoding?: string
}

export type Case = { readonly file: string; readonly index: number | undefined; readonly vector: JsonObject }

/** One application with one sealed row of a vector, in SQLite, and its configuration. */
export class VectorSite {
  readonly path: string
  readonly row: JsonObject
  readonly kek: JsonObject
  readonly isWrapped: boolean
  readonly #case: Case

  constructor(one: Case, extra: Extra) {
    this.#case = one
    this.path = mkdtempSync(join(tmpdir(), 'kvx-vector-'))
    this.row = objectOf(one.vector['row'])
    this.kek = {
      ...objectOf(vectorNamed(one.file)['kek'] ?? {}),
      ...(one.vector['kek'] as JsonObject | undefined),
    }
    const levels = levelsOf(one)
    this.isWrapped = levels.wrap !== undefined
    this.#fill()
    const config = {
      kvx: 1,
      keys: { k: { purpose: this.isWrapped ? 'kek' : 'data', ...(extra.make && { make: extra.make }) } },
      stores: { app: { sqlite: 'app.db' } },
      envelopes: {
        'app.rows': {
          store: 'app',
          table: 'rows',
          id: 'row_id',
          key: 'k',
          ...(extra.version === undefined ? {} : { version: extra.version }),
          ...(levels.wrap && { dek: { ...sealedOf(levels.wrap), ...extra.wrap } }),
          ...(levels.data && { value: { ...sealedOf(levels.data), ...extra.data } }),
        },
      },
    }
    writeFileSync(join(this.path, 'kvx.yaml'), JSON.stringify(config, null, 2), { mode: 0o600 })
    writeFileSync(join(this.path, 'configured.key'), Buffer.from(textOf(this.kek['hex']), 'hex'), {
      mode: 0o600,
    })
  }

  #fill(): void {
    const database = new DatabaseSync(join(this.path, 'app.db'))
    const names = Object.keys(this.row)
    database.exec(
      `CREATE TABLE rows (row_id INTEGER PRIMARY KEY, ${names.map((name) => `"${name}"`).join(', ')})`,
    )
    const marks = names.map(() => '?').join(', ')
    database
      .prepare(`INSERT INTO rows VALUES (1, ${marks})`)
      .run(...names.map((name) => cellOf(this.row[name])))
    database.close()
  }

  /** The row as the application finds it now, in the vector's own notation. */
  readRow(): JsonObject {
    const database = new DatabaseSync(join(this.path, 'app.db'))
    const found = database.prepare('SELECT * FROM rows').get() ?? {}
    database.close()
    return Object.fromEntries(
      Object.entries(found).map(([name, value]) => [
        name,
        value instanceof Uint8Array ? { hex: Buffer.from(value).toString('hex') } : (value as Json),
      ]),
    )
  }

  json<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    return kvxJson<T>(args, { cwd: this.path, env: { HOME: this.path } })
  }

  ok<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    const document = this.json<T>(...args)
    if (document.exit === 0) return document
    throw new Error(
      `${this.#case.file}: kvx ${args.join(' ')}: ${document.exit} ${JSON.stringify(document.error)}`,
    )
  }

  /** kvx.yaml, which is JSON here. */
  configuration(): string {
    return readFileSync(join(this.path, 'kvx.yaml'), 'utf8')
  }

  configure(text: string): void {
    writeFileSync(join(this.path, 'kvx.yaml'), text, { mode: 0o600 })
  }

  /** The configured bytes of a version, as the home keeps them. */
  material(version: number): Buffer {
    return readFileSync(join(this.path, `.kvx/keys/k.v${version}.key`))
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

export function levelsOf({ file, index }: Case): {
  readonly wrap: Declared | undefined
  readonly data: Declared | undefined
} {
  const own = declarations.filter((one) => one.file === file && one.case === index)
  return { wrap: own.find(({ level }) => level === 'wrap'), data: own.find(({ level }) => level === 'data') }
}

/** A declaration of one level as `kvx.yaml` says it. */
function sealedOf(declared: Declared): Readonly<Record<string, unknown>> {
  const cipher = declared.cipher ?? 'aes-256-gcm'
  const { options = {} } = declared
  return {
    ...placeOf(declared),
    [declared.test === undefined ? 'aead' : 'legacy']: cipher,
    ...(declared.test && { 'plaintext-test': declared.test }),
    ...(declared.derive && { derive: declared.derive }),
    ...(declared.nonce && { nonce: declared.nonce }),
    ...(declared.aad && { aad: declared.aad }),
    ...(options.mac && { mac: options.mac }),
    ...(options.initialValue && { 'initial-value': options.initialValue }),
    ...(declared.dekLayout && { encoding: declared.dekLayout }),
  }
}

function placeOf({ columns, prefix }: Declared): Readonly<Record<string, unknown>> {
  if (prefix !== undefined) return {}
  const [[first, layout] = ['', '']] = Object.entries(columns)
  const [column = '', ...names] = first.split('.')
  if (names.length === 0) return { layout: columns }
  const inside = names.reduceRight((inner, name) => `{"${name}": ${inner}, ...}`, layout)
  return { column, layout: `json(${inside})` }
}

function cellOf(value: Json | undefined): SQLInputValue {
  if (value === null || value === undefined) return null
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value
  if (typeof value === 'boolean') return value ? 1n : 0n
  if (typeof value === 'string') return value
  const { hex } = value as JsonObject
  return typeof hex === 'string' ? bytesOfCell(value) : JSON.stringify(value)
}
