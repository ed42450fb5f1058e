import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type CliResult, kvx, kvxBin, kvxJson, type KvxDocument } from './cli.ts'

export type FolderOptions = {
  readonly key: Uint8Array
  readonly purpose: 'data' | 'kek'
  /** How the key's bytes become what seals. */
  readonly derive?: string
  /** Lines below `stores:` and `envelopes:`, with their indentation. */
  readonly stores: readonly string[]
  readonly envelopes: readonly string[]
}

/** A folder with a key file, a configuration of its own, and whatever stores the test puts there. */
export class Folder {
  readonly path = mkdtempSync('/var/tmp/kvx-folder-')

  file(...names: readonly string[]): string {
    return join(this.path, ...names)
  }

  put(name: string, content: string | Uint8Array): string {
    mkdirSync(dirname(this.file(name)), { recursive: true })
    writeFileSync(this.file(name), content, { mode: 0o640 })
    return this.file(name)
  }

  bytes(name: string): Buffer {
    return readFileSync(this.file(name))
  }

  run(...args: readonly string[]): CliResult {
    return kvx(args, { cwd: this.path, env: { HOME: this.path } })
  }

  json<T = Record<string, unknown>>(...args: readonly string[]): KvxDocument<T> {
    return kvxJson<T>(args, { cwd: this.path, env: { HOME: this.path } })
  }

  /** The command must end in 0; what it printed is in the failure. */
  ok<T = Record<string, unknown>>(...args: readonly string[]): KvxDocument<T> {
    const document = this.json<T>(...args)
    if (document.exit === 0) return document
    throw new Error(`kvx ${args.join(' ')} ended with ${document.exit}: ${JSON.stringify(document.error)}`)
  }

  /** The same beside the test's own work, e.g. a server in its process. */
  async start<T = Record<string, unknown>>(
    env: Readonly<Record<string, string>>,
    ...args: readonly string[]
  ): Promise<KvxDocument<T>> {
    const child = spawn(kvxBin, [...args, '--json'], {
      cwd: this.path,
      env: { PATH: process.env['PATH'] ?? '', HOME: this.path, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let stdout = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    await once(child, 'close')
    return JSON.parse(stdout) as KvxDocument<T>
  }

  configure({ purpose, derive, stores, envelopes }: Omit<FolderOptions, 'key'>): void {
    const text = [
      'kvx: 1',
      'keys:',
      '  master:',
      `    purpose: ${purpose}`,
      ...(derive === undefined ? [] : [`    derive: ${derive}`]),
      '    publish: [{ file: keys/app.key, previous: keys/app.key.previous, encoding: raw }]',
      'stores:',
      ...stores,
      'envelopes:',
      ...envelopes,
      '',
    ]
    writeFileSync(this.file('kvx.yaml'), text.join('\n'), { mode: 0o600 })
  }

  /** The configuration, `init` and `key import`. */
  begin(options: FolderOptions): this {
    this.put('keys/app.key', options.key)
    this.ok('init')
    this.configure(options)
    this.ok('key', 'import', 'master')
    return this
  }

  /** A new version, and everything that is declared moved to it. */
  rotate(): void {
    this.ok('rotate', 'master', '--offline', '--yes', '--without-backup', '--reason', 'a test system')
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
