import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { type CliOptions, type CliResult, root } from '../support/cli.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'

/** Two directories as KVCrypt has them, with a key for each vault. */
export type VaultPlace = {
  readonly keyDir: string
  readonly storageDir: string
  readonly flags: readonly string[]
  /** The raw key of a vault. */
  key(vault: string): Buffer
  file(vault: string): string
}

export function vaultPlace(vaults: readonly string[] = ['tk'], mode = 0o755): VaultPlace {
  const parent = trustedDirectory(mode)
  const [keyDir, storageDir] = [join(parent, 'keys'), join(parent, 'vaults')]
  for (const directory of [keyDir, storageDir]) {
    mkdirSync(directory)
    chmodSync(directory, mode)
  }
  for (const vault of vaults) writeKey(join(keyDir, `${vault}.key`), randomBytes(32))
  return {
    keyDir,
    storageDir,
    flags: ['--key-dir', keyDir, '--storage-dir', storageDir],
    key: (vault) => readFileSync(join(keyDir, `${vault}.key`)),
    file: (vault) => join(storageDir, `${vault}.enc`),
  }
}

export function writeKey(path: string, key: Buffer): void {
  writeFileSync(path, key)
  chmodSync(path, 0o640)
}

/** Every file below a directory with its digest: what a refusal must leave as it is. */
export function snapshot(place: VaultPlace): Readonly<Record<string, string>> {
  const names = [`tk.enc`, `ma.enc`, '.tk.generation', '.ma.generation']
  return Object.fromEntries(
    names.map((name) => {
      try {
        return [
          name,
          createHash('sha256')
            .update(readFileSync(join(place.storageDir, name)))
            .digest('hex'),
        ]
      } catch {
        return [name, 'missing']
      }
    }),
  )
}

/** Runs the built `./bin/kvcrypt` to its end. */
export function kvcrypt(args: readonly string[], options: CliOptions = {}): CliResult {
  const { input = '', env = {}, ...rest } = options
  const result = spawnSync(join(root, 'bin/kvcrypt'), args, {
    cwd: '/',
    ...rest,
    input,
    env: { PATH: process.env['PATH'] ?? '', HOME: '/', ...env },
    encoding: 'utf8',
    maxBuffer: 64 * 1_048_576,
  })
  if (result.error !== undefined) throw result.error
  return { exit: result.status ?? -1, stdout: result.stdout, stderr: result.stderr }
}
