import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { kvx, kvxJson, type CliResult, type KvxDocument } from '../support/cli.ts'

export type Cell = string | number | Buffer | null
export type Cells = Readonly<Record<string, Cell>>
export type Census = {
  readonly envelopes: readonly {
    readonly name: string
    readonly records: number
    readonly byVersion: Readonly<Record<string, number>>
    readonly unreadable: number
    readonly plaintext: number
  }[]
}

const withoutBackup = ['--yes', '--without-backup', '--reason', 'a test'] as const

/** An application with the profile that an operator takes for it, in a folder of its own. */
export class ProfileSite {
  readonly path = mkdtempSync('/var/tmp/kvx-profile-')
  readonly env: Readonly<Record<string, string>>

  /**
   * Writes the profile and adjusts it as an operator would: SQLite in place of a server, the key beside kvx.yaml.
   * @param edits texts that are replaced besides, each of which must be there
   */
  constructor(
    profile: string,
    edits: readonly (readonly [string, string])[] = [],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.env = { HOME: this.path, GNUPGHOME: join(this.path, 'no-gnupg'), ...env }
    this.ok('init', '--profile', profile, '--no-input')
    const own = Object.keys(env).length > 0
    const text = this.text('kvx.yaml')
      .replaceAll(/\{ (postgres|mysql): "\$\{DATABASE_URL\}" \}/g, (line) =>
        own ? line : '{ sqlite: ./app.db }',
      )
      .replaceAll(/(file|sqlite): \/[\w/.-]*\/([\w.-]+)/gi, '$1: ./$2')
    this.write('kvx.yaml', edits.reduce(replaced, text))
  }

  /** A file, its folders made. */
  write(name: string, content: string | Buffer): this {
    const path = join(this.path, name)
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
    writeFileSync(path, content, { mode: 0o600 })
    chmodSync(path, 0o600)
    return this
  }

  read(name: string): Buffer {
    return readFileSync(join(this.path, name))
  }

  text(name: string): string {
    return this.read(name).toString('utf8')
  }

  has(name: string): boolean {
    return existsSync(join(this.path, name))
  }

  /** Takes a block of the profile away, and the commented one behind `marker` in its place. */
  takeAlternative(block: RegExp, marker: string): this {
    const text = this.text('kvx.yaml')
    const [before = '', after] = text.replace(block, '').split(marker)
    if (after === undefined || !block.test(text)) throw new Error(`the profile has no ${marker}`)
    const [rest = '', ...lines] = after.split('\n')
    const end = lines.findIndex((line) => !/^ *# /.test(line))
    const own = lines.slice(0, end).map((line) => line.replace('# ', ''))
    return this.write('kvx.yaml', [`${before}${marker}${rest}`, ...own, ...lines.slice(end)].join('\n'))
  }

  /** A table of SQLite with its rows; the first column of the first row is the primary key. */
  table(name: string, rows: readonly Cells[], file = 'app.db'): this {
    this.sql(file, (database) => {
      const columns = Object.keys(rows[0] ?? {}).map((column) => `"${column}"`)
      database.exec(`CREATE TABLE "${name}" (${columns.join(', ')}, PRIMARY KEY (${columns[0] ?? ''}))`)
      const marks = columns.map(() => '?').join(', ')
      for (const row of rows) {
        const cells = Object.values(row).map(
          (cell): SQLInputValue => (typeof cell === 'number' ? BigInt(cell) : cell),
        )
        database.prepare(`INSERT INTO "${name}" (${columns.join(', ')}) VALUES (${marks})`).run(...cells)
      }
    })
    chmodSync(join(this.path, file), 0o600)
    return this
  }

  rows(name: string, file = 'app.db'): readonly Cells[] {
    return this.sql(file, (database) =>
      database
        .prepare(`SELECT * FROM "${name}" ORDER BY 1`)
        .all()
        .map((row) =>
          Object.fromEntries(
            Object.entries(row).map(([column, cell]) => [
              column,
              cell instanceof Uint8Array ? Buffer.from(cell) : (cell as Cell),
            ]),
          ),
        ),
    )
  }

  private sql<T>(file: string, work: (database: DatabaseSync) => T): T {
    const database = new DatabaseSync(join(this.path, file))
    try {
      return work(database)
    } finally {
      database.close()
    }
  }

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
    throw new Error(`kvx ${args.join(' ')}: ${document.exit} ${JSON.stringify(document.error)}`)
  }

  /** Records by version and envelope, of which none may be unreadable. */
  census(): Readonly<Record<string, Readonly<Record<string, number>>>> {
    const { envelopes } = this.ok<Census>('verify').data
    return Object.fromEntries(envelopes.map(({ name, byVersion }) => [name, byVersion]))
  }

  /** A new version, and everything under it. */
  rotate(key: string): void {
    this.ok('rotate', key, '--offline', '--then', 'data', ...withoutBackup)
  }

  /** Values of a form that is given up become those of the new one, under the same key. */
  convert(command: 'rewrap' | 'reencrypt'): void {
    this.ok(command, ...withoutBackup)
  }

  retire(version: string): void {
    this.ok('retire', version, '--confirm', version)
  }

  /** The configured bytes of a version, as the home keeps them. */
  material(key: string, version: number): Buffer {
    return this.read(`.kvx/keys/${key}.v${version}.key`)
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Origan's deployments in a folder in place of a bucket. */
export function origanInFolder(site: ProfileSite): ProfileSite {
  return site.takeAlternative(/^ {2}deployments:\n(?: {4}.*\n)+/m, '# Deployments in a folder')
}

function replaced(text: string, [from, to]: readonly [string, string]): string {
  if (!text.includes(from)) throw new Error(`the profile has no ${JSON.stringify(from)}`)
  return text.replaceAll(from, to)
}
