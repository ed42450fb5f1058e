import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The flags that `bin/kvx` gives to Node for a command that may become a long run, read from there. */
export function nodeFlags(): readonly string[] {
  const launcher = readFileSync(join(import.meta.dirname, '../bin/kvx'), 'utf8')
  const [, heap = ''] = /^heap='(--[^']*)'$/m.exec(launcher) ?? []
  const [, words = ''] = /exec "\$node" \$heap (--[^"]*) "\$here\/kvx\.cjs"/.exec(launcher) ?? []
  if (heap === '' || words === '') throw new Error('bin/kvx has no flags for Node')
  return `${heap} ${words}`.split(/[\s\\]+/).filter((word) => word !== '')
}
