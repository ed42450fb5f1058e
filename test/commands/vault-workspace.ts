import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CliResult, kvx, kvxJson, type KvxDocument } from '../support/cli.ts'
import { run, trustedDirectory } from '../support/trusted-directory.ts'
import { openReferenceVault } from '../vault/reference-decoder.ts'

export const untested = ['--without-backup', '--reason', 'a test system'] as const

/** A home with one vault key that is published as KVCrypt reads it, and a vault of three segments. */
export class VaultWorkspace {
  readonly path: string
  readonly env = { UV_THREADPOOL_SIZE: '1' }

  constructor(path: string) {
    this.path = path
  }

  static make(value = 'x'.repeat(2_200_000)): VaultWorkspace {
    const path = trustedDirectory()
    for (const directory of ['keys', 'vaults']) mkdirSync(join(path, directory))
    const text = [
      'kvx: 1',
      'keys: { tk: { purpose: vault, publish: [{ file: keys/tk.key, previous: keys/tk.key.previous }] } }',
      'vaults: { tk: { directory: vaults, key: tk } }',
      '',
    ]
    writeFileSync(join(path, 'kvx.yaml'), text.join('\n'), { mode: 0o600 })
    const workspace = new VaultWorkspace(path)
    workspace.ok('init', '--no-input')
    workspace.ok('keygen', 'tk')
    writeFileSync(join(path, 'first.json'), JSON.stringify({ big: value, n: 1 }))
    workspace.ok('vault', 'import', 'tk', '--from', join(path, 'first.json'))
    return workspace
  }

  /** Another one in the same state. */
  copy(): VaultWorkspace {
    const path = trustedDirectory()
    run('cp', '-a', `${this.path}/.`, path)
    return new VaultWorkspace(path)
  }

  file(...names: string[]): string {
    return join(this.path, ...names)
  }

  get vault(): string {
    return this.file('vaults/tk.enc')
  }

  run(...args: string[]): CliResult {
    return kvx(args, { cwd: this.path, env: this.env })
  }

  json<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    return kvxJson<T>(args, { cwd: this.path, env: this.env })
  }

  ok<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    const document = this.json<T>(...args)
    if (document.exit === 0) return document
    throw new Error(`kvx ${args.join(' ')} ended with ${document.exit}: ${JSON.stringify(document.error)}`)
  }

  material(version: number): Buffer {
    return readFileSync(this.file('.kvx/keys', `tk.v${version}.key`))
  }

  /** The version whose key opens the vault, and what it holds, by the second implementation of the format. */
  look(path = this.vault): {
    readonly version: number
    readonly generation: bigint
    readonly content: Buffer
  } {
    const bytes = readFileSync(path)
    for (const version of [1, 2, 3]) {
      try {
        const { generation, plaintext } = openReferenceVault(bytes, this.material(version))
        return { version, generation, content: plaintext }
      } catch {
        // another version, or none
      }
    }
    throw new Error('no version opens the vault')
  }

  runs(): { id: string; status: string; kind: string }[] {
    return this.ok<{ runs: { id: string; status: string; kind: string }[] }>('run', 'list').data.runs
  }

  /** The vault files in the backups of all runs. */
  backups(): string[] {
    const runs = readdirSync(this.file('.kvx/runs'))
    return runs.flatMap((run) => {
      const directory = this.file('.kvx/runs', run, 'backup')
      try {
        return readdirSync(directory)
          .filter((name) => name.startsWith('tk.enc'))
          .map((name) => join(directory, name))
      } catch {
        return []
      }
    })
  }

  byVersion(): Readonly<Record<string, number>> {
    const { envelopes } = this.ok<{ envelopes: { byVersion: Record<string, number> }[] }>('verify').data
    return envelopes[0]?.byVersion ?? {}
  }
}
