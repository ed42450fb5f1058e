import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { hasNoCore } from '../../src/platform/harden.ts'
import { kvxBin, kvxOk, root } from '../support/cli.ts'
import { needsTool } from '../support/needs.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'

/** What a command reads of the build and starts besides itself. */
function traced(args: readonly string[]): { readonly files: readonly string[]; readonly programs: string[] } {
  const log = join(trustedDirectory(), 'log')
  execFileSync('strace', ['-f', '-qq', '-e', 'trace=openat,execve', '-o', log, kvxBin, ...args])
  const text = readFileSync(log, 'utf8')
  const opened = [...text.matchAll(/openat\(\w+, "([^"]+\.cjs)"[^\n]*= \d+$/gm)].map(([, file = '']) => file)
  const started = [...text.matchAll(/execve\("([^"]+)"[^\n]*= 0$/gm)].map(([, file = '']) => file)
  const programs = started.map((file) => file.split('/').at(-1) ?? '').slice(2)
  return { files: [...new Set(opened)].filter((file) => file.includes(join(root, 'dist'))), programs }
}

describe('a command that start scripts wait for', () => {
  test.for([
    ['check', (folder: string) => ['check', join(folder, 'tk.key')]],
    ['keygen', (folder: string) => ['keygen', 'next', '--dir', folder]],
  ] as const)(
    '%s loads neither zod nor yaml, and starts nothing to get rid of cores',
    ([, args], context) => {
      needsTool(context, 'strace')
      const folder = trustedDirectory()
      kvxOk(['keygen', 'tk', '--dir', folder])
      const { files, programs } = traced(args(folder))
      expect(files.length).toBeGreaterThan(2)
      for (const file of files) {
        const code = readFileSync(file, 'utf8')
        expect([file, /ZodError|YAMLParseError/.exec(code)?.[0]]).toEqual([file, undefined])
      }
      expect(programs).not.toContain('prlimit')
    },
  )
})

test.each([
  ['Max core file size        0                    0                    bytes     ', true],
  ['Max core file size        0                    unlimited            bytes     ', false],
  ['Max core file size        unlimited            unlimited            bytes     ', false],
  ['Max cpu time              0                    0                    seconds   ', false],
  ['', false],
])('the limits %s allow no core: %s', (line, expected) => {
  expect(hasNoCore(`Limit  Soft Limit  Hard Limit  Units\n${line}\n`)).toBe(expected)
})
