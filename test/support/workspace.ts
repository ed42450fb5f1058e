import { execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { bindable, columnsOf, type AppKey, type Row, secretOf, type Shape } from './application.ts'
import { type CliResult, kvx, kvxBin, kvxJson, type KvxDocument } from './cli.ts'
import type { GpgHome } from './gpg.ts'

export type WorkspaceOptions = {
  readonly shape: Shape
  /** Sealed records; 60 unless told. */
  readonly rows?: number
  /** Where the key is published: an env file or a key file, with a second slot or without. */
  readonly place?: 'env' | 'env-one-slot' | 'file' | 'file-one-slot'
  /** More members of the published place, e.g. `cache-ttl: 1s`. */
  readonly members?: readonly string[]
  /** Recipients of the key's backup; none unless told. */
  readonly recipients?: readonly string[]
  /** Public keys of recipients come from here, and private ones where it has them. */
  readonly gpg?: GpgHome
  /** Lines under `envelopes.app.secrets` in place of the shape's. */
  readonly envelope?: readonly string[]
}

export type Ended = {
  readonly exit: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** What the reader found: records whose every part opened to what was sealed, and the others. */
export type Reading = { readonly opened: number; readonly failed: number; readonly others: number }

type Slot = 'current' | 'previous'

const envFile = { current: 'APP_KEK', previous: 'APP_KEK_OLD' } as const
const keyFile = { current: 'keys/app.key', previous: 'keys/app.key.previous' } as const

/** An application with a sealed database, its published key, a configuration, and a home once `init` has run. */
export class Workspace {
  readonly path: string
  readonly options: WorkspaceOptions
  readonly env: Readonly<Record<string, string>>
  /** The key that the application began with. */
  readonly firstKey: AppKey

  constructor(path: string, options: WorkspaceOptions, firstKey: AppKey) {
    this.path = path
    this.options = options
    this.firstKey = firstKey
    const gnupg = options.gpg?.path ?? join(path, 'no-gnupg')
    this.env = { HOME: path, GNUPGHOME: gnupg, LC_ALL: 'C', UV_THREADPOOL_SIZE: '1' }
  }

  get shape(): Shape {
    return this.options.shape
  }

  get home(): string {
    return join(this.path, '.kvx')
  }

  get database(): string {
    return join(this.path, 'app.db')
  }

  /** The file that the application reads its current key from. */
  get published(): string {
    return join(this.path, this.isEnv ? 'app.env' : keyFile.current)
  }

  private get isEnv(): boolean {
    return this.options.place?.startsWith('file') !== true
  }

  file(...names: string[]): string {
    return join(this.path, ...names)
  }

  /** Runs the built CLI in this folder to its end. */
  run(...args: string[]): CliResult {
    return kvx(args, { cwd: this.path, env: this.env })
  }

  json<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    return kvxJson<T>(args, { cwd: this.path, env: this.env })
  }

  /** The command must end in 0; what it printed is in the failure. */
  ok<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    const document = this.json<T>(...args)
    if (document.exit === 0) return document
    throw new Error(`kvx ${args.join(' ')} ended with ${document.exit}: ${JSON.stringify(document.error)}`)
  }

  /** Runs the built CLI beside other work, under a wrapper (`['strace', …]`) where one is given. */
  async start(args: readonly string[], wrapper: readonly string[] = []): Promise<Ended> {
    const [program = '', ...rest] = [...wrapper, kvxBin, ...args]
    const child = spawn(program, rest, {
      cwd: this.path,
      env: { PATH: process.env['PATH'] ?? '', ...this.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    return await new Promise((done, fail) => {
      child.on('error', fail)
      child.on('close', (exit, signal) => done({ exit, signal, stdout, stderr }))
    })
  }

  /** `init`, the configuration, `key import`. */
  begin(): this {
    this.ok('init')
    this.writeConfig()
    this.ok('key', 'import', 'master')
    return this
  }

  writeConfig(text = this.configuration()): void {
    writeFileSync(this.file('kvx.yaml'), text, { mode: 0o600 })
  }

  configuration(): string {
    const { shape, recipients, envelope = shape.envelope } = this.options
    return [
      'kvx: 1',
      'keys:',
      '  master:',
      `    purpose: ${shape.purpose}`,
      '    publish:',
      `      - { ${[...this.placeMembers(), ...(this.options.members ?? [])].join(', ')} }`,
      ...(recipients === undefined ? [] : [`    backup: { recipients: [${recipients.join(', ')}] }`]),
      'stores:',
      '  app: { sqlite: app.db }',
      'envelopes:',
      '  app.secrets:',
      '    store: app',
      '    table: secrets',
      '    id: id',
      '    key: master',
      ...envelope.map((line) => `    ${line}`),
      '',
    ].join('\n')
  }

  private placeMembers(): readonly string[] {
    const oneSlot = this.options.place?.endsWith('one-slot') === true
    if (this.isEnv) {
      const previous = oneSlot ? [] : [`previous: ${envFile.previous}`]
      return ['env-file: app.env', `current: ${envFile.current}`, ...previous, 'encoding: base64']
    }
    return [
      `file: ${keyFile.current}`,
      ...(oneSlot ? [] : [`previous: ${keyFile.previous}`]),
      'encoding: raw',
    ]
  }

  /** The key in a slot, as an application reads it; undefined where there is none. */
  publishedKey(slot: Slot = 'current'): Buffer | undefined {
    const path = this.isEnv ? this.file('app.env') : this.file(keyFile[slot])
    if (!existsSync(path)) return undefined
    const bytes = readFileSync(path)
    if (!this.isEnv) return bytes
    const lines = bytes.toString('utf8').split('\n')
    const line = lines.find((text) => text.startsWith(`${envFile[slot]}=`))
    return line === undefined ? undefined : Buffer.from(line.slice(line.indexOf('=') + 1), 'base64')
  }

  /** Opens every record with one key; without one nothing opens. */
  read(key: Buffer | undefined): Reading {
    let [opened, failed, others] = [0, 0, 0]
    for (const row of this.rows()) {
      const id = Number(row['id'])
      if (this.isOther(row)) others++
      else if (opens(this.shape, key, id, row)) opened++
      else failed++
    }
    return { opened, failed, others }
  }

  /** Ids of records that none of the keys opens; without keys, what the application has lost with both its slots. */
  lost(
    keys: readonly (Buffer | undefined)[] = [this.publishedKey('current'), this.publishedKey('previous')],
  ): readonly number[] {
    return this.rows()
      .filter((row) => !this.isOther(row))
      .map((row) => ({ id: Number(row['id']), row }))
      .filter(({ id, row }) => !keys.some((key) => opens(this.shape, key, id, row)))
      .map(({ id }) => id)
  }

  private isOther(row: Row): boolean {
    const others = this.shape.others?.(Number(row['id'])) ?? []
    return others.some((other) => columnsOf(this.shape).every((column) => other[column] === row[column]))
  }

  rows(): readonly Row[] {
    return this.sql((database) => database.prepare('SELECT * FROM secrets ORDER BY id').all() as Row[])
  }

  /** What the application, or somebody else, does with the database. */
  sql<T>(work: (database: DatabaseSync) => T): T {
    const database = new DatabaseSync(this.database, { timeout: 10_000 })
    try {
      return work(database)
    } finally {
      database.close()
    }
  }

  /** Puts a record under a key in place of what has this id. */
  put(id: number, key: AppKey, row: Row = this.shape.seal(key, id)): void {
    this.sql((database) => insertRow(database, this.shape, id, row))
  }

  /** A key by which sealed values look as if another installation wrote them. */
  strangeKey(): AppKey {
    return { version: this.firstKey.version, bytes: randomBytes(32) }
  }

  /** The key that is published as current, with the number that the keyring gives it. */
  currentKey(): AppKey {
    const bytes = this.publishedKey('current')
    if (bytes === undefined) throw new Error('no key is published')
    return { version: this.keyring().keys['master']?.seals ?? 1, bytes }
  }

  /** What keyring.json holds, read as JSON. */
  keyring(): RingFile {
    return JSON.parse(readFileSync(join(this.home, 'keyring.json'), 'utf8')) as RingFile
  }

  /** One hash over names, modes and bytes of everything in the folder, times left out. */
  treeHash(): string {
    return treeHash(this.path)
  }

  /** The same application, home and published key in another folder. */
  copy(): Workspace {
    const path = newFolder()
    execFileSync('cp', ['-a', `${this.path}/.`, path])
    return new Workspace(path, this.options, this.firstKey)
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

export type RingFile = {
  readonly generation: number
  readonly keys: Readonly<
    Record<
      string,
      {
        readonly seals: number | null
        readonly previous: number | null
        readonly staged: number | null
        readonly next: number
        readonly versions: Readonly<
          Record<
            string,
            {
              readonly state: string
              readonly history: readonly { readonly at: string; readonly to: string }[]
              readonly fingerprint: string | null
              readonly canary: string | null
              readonly retired: object | null
              readonly rollout: { readonly how: string } | null
              readonly withoutBackup: { readonly reason: string } | null
            }
          >
        >
      }
    >
  >
}

/** A folder that every command trusts as an ancestor: /var/tmp, or what the fault harness says. */
export function folderOfSites(): string {
  return process.env['KVX_TEST_SITES'] ?? '/var/tmp'
}

function newFolder(): string {
  return mkdtempSync(join(folderOfSites(), 'kvx-app-'))
}

function opens(shape: Shape, key: Buffer | undefined, id: number, row: Row): boolean {
  if (key === undefined) return false
  try {
    const values = shape.open(key, id, row)
    return values.every((value) => value === secretOf(id) || value.startsWith(`${secretOf(id)} `))
  } catch {
    return false
  }
}

function insertRow(database: DatabaseSync, shape: Shape, id: number, row: Row): void {
  const columns = columnsOf(shape)
  const marks = columns.map(() => '?').join(', ')
  database
    .prepare(`INSERT OR REPLACE INTO secrets (id, ${columns.join(', ')}) VALUES (?, ${marks})`)
    .run(id, ...columns.map((column) => bindable(row[column])))
}

/** Makes the application: table, sealed records, published key. `begin()` takes it over. */
export function makeWorkspace(options: WorkspaceOptions): Workspace {
  const path = newFolder()
  const key = { version: 1, bytes: randomBytes(32) }
  const workspace = new Workspace(path, options, key)
  const { shape, rows = 60 } = options
  workspace.sql((database) => {
    database.exec(`CREATE TABLE secrets (id INTEGER PRIMARY KEY, ${shape.ddl})`)
    database.exec('BEGIN')
    for (let id = 1; id <= rows; id++) insertRow(database, shape, id, shape.seal(key, id))
    let id = rows
    for (let more = 0; more < 5; more++) {
      const [row] = shape.others?.(id + 1).slice(more % 2) ?? []
      if (row !== undefined) insertRow(database, shape, ++id, row)
    }
    database.exec('COMMIT')
  })
  if (options.place?.startsWith('file') === true) {
    mkdirSync(join(path, 'keys'), { mode: 0o755 })
    writeFileSync(join(path, keyFile.current), key.bytes, { mode: 0o640 })
  } else {
    const text = `PORT=8080\n${envFile.current}=${key.bytes.toString('base64')}\nLOG=info\n`
    writeFileSync(join(path, 'app.env'), text, { mode: 0o600 })
  }
  workspace.writeConfig()
  return workspace
}

const imported = new Map<string, Workspace>()

/**
 * A workspace whose key was imported already: the first one of its kind is made, the others are copies of it.
 * `closeImported` removes the originals.
 */
export function importedWorkspace(options: WorkspaceOptions): Workspace {
  const { gpg, shape, ...rest } = options
  const kind = JSON.stringify({ ...rest, gpg: gpg?.path, shape: [shape.ddl, shape.envelope] })
  let original = imported.get(kind)
  if (original === undefined) {
    original = makeWorkspace(options).begin()
    imported.set(kind, original)
  }
  return original.copy()
}

export function closeImported(): void {
  for (const workspace of imported.values()) workspace.close()
  imported.clear()
}

export function treeHash(root: string): string {
  const hash = createHash('sha256')
  const visit = (path: string): void => {
    const facts = lstatSync(path)
    hash.update(`${path.slice(root.length)}\0${facts.mode}\0${facts.uid}\0${facts.gid}\0`)
    if (facts.isDirectory()) for (const name of readdirSync(path).sort()) visit(join(path, name))
    else if (facts.isFile()) hash.update(readFileSync(path))
  }
  visit(root)
  return hash.digest('hex')
}

/** The hash of each file by its name, to see which one changed. */
export function treeFiles(root: string): Readonly<Record<string, string>> {
  const files: Record<string, string> = {}
  const visit = (path: string): void => {
    const facts = lstatSync(path)
    if (facts.isDirectory()) for (const name of readdirSync(path).sort()) visit(join(path, name))
    if (facts.isFile()) {
      const digest = createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 12)
      files[path.slice(root.length + 1)] = `${(facts.mode & 0o777).toString(8)} ${digest}`
    }
  }
  visit(root)
  return files
}
