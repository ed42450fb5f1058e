import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { GpgHome } from './gpg.ts'
import type { Workspace } from './workspace.ts'

/** Throw-away SSH keys, made and used by the real ssh-keygen. */
export class SshKeys {
  readonly path = mkdtempSync(join(tmpdir(), 'kvxs-'))

  /** Makes a key without a passphrase, or with one; gives the path of its private half. */
  make(name: string, options: { readonly type?: string; readonly passphrase?: string } = {}): string {
    const file = join(this.path, name)
    const { type = 'ed25519', passphrase = '' } = options
    execFileSync('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-C', `${name}@example.org`, '-f', file])
    return file
  }

  /** The line of the `.pub` file. */
  publicLine(file: string): string {
    return readFileSync(`${file}.pub`, 'utf8').trim()
  }

  /** What a person types who has nothing but ssh-keygen. */
  sign(file: string, bytes: Uint8Array, namespace = 'kvx-plan'): Buffer {
    return execFileSync('ssh-keygen', ['-q', '-Y', 'sign', '-f', file, '-n', namespace], {
      input: bytes,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Signs a plan with gpg alone, as an approver without kvx does, and lays the signature beside it. */
export function signWithGpg(gpg: GpgHome, fingerprint: string, plan: string, name: string): void {
  const signature = gpg.run(['--local-user', fingerprint, '--armor', '--detach-sign'], readFileSync(plan))
  writeFileSync(`${plan}.${name}.asc`, signature)
}

/** A workspace's configuration with a policy behind it. */
export function withPolicy(workspace: Workspace, lines: readonly string[]): void {
  const text = workspace.configuration()
  workspace.writeConfig([text.trimEnd(), 'policy:', ...lines.map((line) => `  ${line}`), ''].join('\n'))
}
