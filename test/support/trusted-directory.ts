import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { onTestFinished } from 'vitest'

/**
 * A new 0700 directory that kvx trusts: its parent is sticky and root's, it is nobody else's. Removed with all
 * mounts and immutable files in it when the test ends.
 */
export function trustedDirectory(mode = 0o700): string {
  const path = mkdtempSync('/var/tmp/kvx-test-')
  chmodSync(path, mode)
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Runs a tool of the system for a test's set-up and gives what it prints. Throws when it fails. */
export function run(tool: string, ...args: string[]): string {
  return execFileSync(tool, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Mounts in a directory until the test ends. Needs root. */
export function mount(directory: string, ...args: string[]): void {
  run('mount', ...args, directory)
  onTestFinished(() => void run('umount', directory))
}
