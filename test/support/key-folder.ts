import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { kvx, kvxJson, type CliResult, kvxOk, type KvxDocument } from './cli.ts'

/** A folder with a home and a configuration of one key, `master`, published as told. */
export class KeyFolder {
  readonly path = mkdtempSync('/var/tmp/kvx-publish-')
  readonly env: Record<string, string> = {}

  /** @param publish entries of `publish:` as YAML in one line each */
  constructor(publish: readonly string[], files: Readonly<Record<string, string | Buffer>> = {}, rest = '') {
    for (const [name, bytes] of Object.entries(files)) this.write(name, bytes)
    this.configure(publish, rest)
    this.ok('init')
  }

  configure(publish: readonly string[], rest = ''): void {
    const places = publish.map((place) => `      - ${place}\n`).join('')
    this.write('kvx.yaml', `kvx: 1\nkeys:\n  master:\n    purpose: kek\n    publish:\n${places}${rest}`)
  }

  file(...names: string[]): string {
    return join(this.path, ...names)
  }

  write(name: string, bytes: string | Buffer, mode = 0o600): string {
    writeFileSync(this.file(name), bytes, { mode })
    chmodSync(this.file(name), mode)
    return this.file(name)
  }

  /** An executable script of the shell. */
  program(name: string, script: string): string {
    return this.write(name, `#!/bin/sh\n${script}\n`, 0o700)
  }

  text(name: string): string {
    return readFileSync(this.file(name), 'utf8')
  }

  ok(...args: string[]): CliResult {
    return kvxOk(args, { cwd: this.path, env: this.env })
  }

  run(...args: string[]): CliResult {
    return kvx(args, { cwd: this.path, env: this.env })
  }

  json<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    return kvxJson<T>(args, { cwd: this.path, env: this.env })
  }

  /** The bytes of a version, from the home. */
  material(version: number): Buffer {
    return readFileSync(this.file('.kvx/keys', `master.v${version}.key`))
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Flags of a rotation whose key has no backup. */
export const withoutBackup = ['--without-backup', '--reason', 'a test']
