import { existsSync } from 'node:fs'
import type { TestContext } from 'vitest'

/** Skips a test, with the reason in the report, where the machine lacks something that it needs. */
export function needsRoot(context: TestContext): void {
  if (process.geteuid?.() !== 0) context.skip('needs root: other owners, mounts and uids')
}

export function needsTool(context: TestContext, tool: string): void {
  const found = ['/usr/bin', '/bin', '/usr/sbin', '/sbin'].some((path) => existsSync(`${path}/${tool}`))
  if (!found) context.skip(`needs ${tool}, which is not installed here`)
}
