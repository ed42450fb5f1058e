import { existsSync, statSync } from 'node:fs'
import type { TestContext } from 'vitest'

/** Skips a test, with the reason in the report, where the machine lacks something that it needs. */
export function needsRoot(context: TestContext): void {
  if (process.geteuid?.() !== 0) context.skip('needs root: other owners, mounts and uids')
}

export function needsTool(context: TestContext, tool: string): void {
  const found = ['/usr/bin', '/bin', '/usr/sbin', '/sbin'].some((path) => existsSync(`${path}/${tool}`))
  if (!found) context.skip(`needs ${tool}, which is not installed here`)
}

/** Skips a test that runs Node or kvx as another user, where it cannot be one or that one cannot reach the clone. */
export function needsOtherUsers(context: TestContext): void {
  needsRoot(context)
  for (const path of [process.execPath, import.meta.filename]) {
    for (let end = path.indexOf('/', 1); end > 0; end = path.indexOf('/', end + 1)) {
      if (!othersMayEnter(path.slice(0, end))) {
        context.skip(`other users cannot enter ${path.slice(0, end)}, where Node or the clone lies`)
      }
    }
  }
}

function othersMayEnter(directory: string): boolean {
  return (statSync(directory).mode & 0o001) !== 0
}
