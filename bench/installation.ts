import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { kvxBin, kvxJson } from '../test/support/cli.ts'
import { envelope } from './records.ts'

export type Rewrapped = {
  readonly ms: number
  /** The most memory that it held, in bytes. */
  readonly memory: number
  /** Of the run's backup of old bytes. */
  readonly backupBytes: number
}

/** A folder with a key, a home and a configuration, rotated already: everything still lies under version 1. */
export class Installation {
  readonly path = mkdtempSync('/var/tmp/kvx-bench-')
  readonly #env: Readonly<Record<string, string>>
  readonly #work: 'rewrap' | 'reencrypt'

  /**
   * @param store in flow style: `{ sqlite: app.db }`
   * @param values how values lie directly under the key, where no DEK is between them
   */
  constructor(
    kek: Buffer,
    store: string,
    env: Readonly<Record<string, string>> = {},
    values?: readonly string[],
  ) {
    this.#work = values === undefined ? 'rewrap' : 'reencrypt'
    chmodSync(this.path, 0o700)
    this.#env = { HOME: this.path, GNUPGHOME: join(this.path, 'none'), LC_ALL: 'C', ...env }
    writeFileSync(join(this.path, 'app.env'), `KEK=${kek.toString('base64')}\n`, { mode: 0o600 })
    this.#ok('init')
    const lines = [
      'kvx: 1',
      'keys:',
      '  master:',
      `    purpose: ${values === undefined ? 'kek' : 'data'}`,
      '    publish:',
      '      - { env-file: app.env, current: KEK, previous: KEK_OLD, encoding: base64 }',
      'stores:',
      `  app: ${store}`,
      'envelopes:',
      '  app.secrets:',
      '    store: app',
      '    key: master',
      ...(values ?? ['    table: secrets', '    id: id', ...envelope]),
      '',
    ]
    writeFileSync(join(this.path, 'kvx.yaml'), lines.join('\n'), { mode: 0o600 })
    this.#ok('key', 'import', 'master')
    this.#ok('rotate', 'master', '--offline', '--yes', '--without-backup', '--reason', 'a benchmark')
  }

  #ok(...args: string[]): ReturnType<typeof kvxJson> {
    const document = kvxJson(args, { cwd: this.path, env: this.#env })
    if (document.exit === 0) return document
    throw new Error(`kvx ${args.join(' ')} ended with ${document.exit}: ${JSON.stringify(document.error)}`)
  }

  /** The whole command from the shell's call to its end; every record must lie under version 2 afterwards. */
  async move(rows: number, ...flags: readonly string[]): Promise<Rewrapped> {
    const begun = performance.now()
    const child = spawn(kvxBin, [this.#work, '--yes', '--json', '--progress', 'none', ...flags], {
      cwd: this.path,
      env: { PATH: process.env['PATH'] ?? '', ...this.#env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece))
    let memory = 0
    const watch = setInterval(() => (memory = Math.max(memory, highWater(child.pid))), 50)
    await once(child, 'close')
    clearInterval(watch)
    const ms = performance.now() - begun
    const { exit, data } = JSON.parse(text) as {
      exit: number
      data?: { run: string; envelopes: { changed: number }[] }
    }
    if (exit !== 0 || data?.envelopes[0]?.changed !== rows)
      throw new Error(`the ${this.#work} did not move ${rows} records: ${text}`)
    this.#requireUnderVersion2(rows)
    const backup = join(this.path, '.kvx/runs', data.run, 'backup/ciphertext.jsonl')
    return { ms, memory, backupBytes: statSync(backup).size }
  }

  /** A figure of work that was not done is worth nothing. */
  #requireUnderVersion2(rows: number): void {
    const { data } = this.#ok('verify') as { data?: { envelopes?: { byVersion: Record<string, number> }[] } }
    const found = data?.envelopes?.[0]?.byVersion
    if (JSON.stringify(found) !== JSON.stringify({ 'master@2': rows }))
      throw new Error(`not all of ${rows} records lie under version 2: ${JSON.stringify(found)}`)
  }

  file(name: string): string {
    return join(this.path, name)
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** The most memory that a process ever held, in bytes; 0 when it has ended. */
function highWater(pid: number | undefined): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}
