import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
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
  // Where two processes speak at once, strace says in a line of its own how it ended.
  const started = [...text.matchAll(/execve\("([^"]+)"(?![^\n]*= -1 )/g)].map(([, file = '']) => file)
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

  // What is loaded is most of the time that a start takes. A larger number needs a reason, not only a new number.
  test.for([
    ['--version', 2, 12_000, () => ['--version']],
    ['--help', 6, 40_000, () => ['--help']],
    ['check', 6, 328_000, (folder: string) => ['check', join(folder, 'tk.key')]],
    ['keygen', 5, 286_000, (folder: string) => ['keygen', 'next', '--dir', folder]],
  ] as const)('%s reads at most %i files of the program, and %i bytes', ([, most, bytes, args], context) => {
    needsTool(context, 'strace')
    const folder = trustedDirectory()
    kvxOk(['keygen', 'tk', '--dir', folder])
    const { files } = traced(args(folder))
    expect(files.length, files.join('\n')).toBeLessThanOrEqual(most)
    expect(sizeOf(files)).toBeLessThanOrEqual(bytes)
  })

  // With an option for V8's heap Node compiles each of its own modules anew, which took a quarter of the time.
  test.for([
    ['check', []],
    ['keygen', []],
    ['status', []],
    ['rewrap', ['max-semi-space-size', 'heap-growing-percent']],
    ['run', ['max-semi-space-size', 'heap-growing-percent']],
  ] as const)('%s starts Node with these options for its heap: %o', ([word, expected], context) => {
    needsTool(context, 'strace')
    const log = join(trustedDirectory(), 'log')
    const options = ['-qq', '-s', '200', '-e', 'trace=execve', '-o', log]
    execFileSync('strace', [...options, kvxBin, word, '--help'])
    const words = readFileSync(log, 'utf8').matchAll(/"--([\w-]*(?:heap|space)[\w-]*)=\d+"/g)
    expect([...words].map(([, name]) => name)).toEqual(expected)
  })

  test('a key of this machine is looked at with one other program, and made with two', (context) => {
    needsTool(context, 'strace')
    const folder = trustedDirectory()
    kvxOk(['keygen', 'tk', '--dir', folder])
    expect(traced(['check', join(folder, 'tk.key')]).programs).toEqual(['getfacl'])
    const made = traced(['keygen', 'next', '--dir', folder]).programs
    expect(made).toEqual([...ownAccountsAreLocal(), 'flock', 'getfacl'])
    const read = traced(['keygen', 'third', '--dir', folder, '--reader', String(process.getgid?.())]).programs
    expect(read).toEqual([...ownAccountsAreLocal(), 'flock', 'setfacl', 'getfacl'])
  })

  test.for([
    [
      'check',
      (folder: string) => ['check', join(folder, 'tk.key')],
      ['crypto', 'fs/promises', 'worker_threads', 'inspector'],
    ],
    ['--version', () => ['--version'], ['crypto', 'fs/promises', 'child_process']],
  ] as const)('%s loads no module of Node that it does not call', ([, args, unwanted]) => {
    const folder = trustedDirectory()
    kvxOk(['keygen', 'tk', '--dir', folder])
    const script = `process.argv.splice(1, 0, 'kvx')
      process.on('exit', () => console.log(JSON.stringify(process.moduleLoadList)))
      require(${JSON.stringify(join(root, 'bin/kvx.cjs'))})`
    const options = ['--disable-sigusr1', '-e', script, '--', ...args(folder)]
    const lines = execFileSync(process.execPath, options, { encoding: 'utf8' }).trimEnd().split('\n')
    const loaded = JSON.parse(lines.at(-1) ?? '') as string[]
    expect(unwanted.filter((name) => loaded.includes(`NativeModule ${name}`))).toEqual([])
    expect(loaded).toContain('NativeModule stream')
  })
})

function sizeOf(files: readonly string[]): number {
  return files.reduce((sum, file) => sum + statSync(file).size, 0)
}

/** Where the machine asks a directory service first, two more programs tell the names of owner and group. */
function ownAccountsAreLocal(): readonly string[] {
  const order = readFileSync('/etc/nsswitch.conf', 'utf8')
  return ['passwd', 'group'].flatMap((name) =>
    new RegExp(`^${name}:\\s+files(\\s+[a-z]|\\s*$)`, 'm').test(order) ? [] : ['getent'],
  )
}

describe('every command', () => {
  test('loads less than a third of the program before it knows what it was asked', () => {
    const folder = join(root, 'dist/cli')
    const code = (file: string): string => readFileSync(join(folder, file), 'utf8')
    const graph = (file: string, seen = new Set<string>()): Set<string> => {
      if (seen.has(file)) return seen
      seen.add(file)
      for (const [, needed = ''] of code(file).matchAll(/^(?:const|let) [\w$]+ = require\("\.\/([^"]+)"\)/gm))
        graph(needed, seen)
      return seen
    }
    const table = code('main.cjs').matchAll(/"([\w:-]+)": \(\) => .*?require\("\.\/(chunk-[^"]+)"\)/g)
    const sizes = [...table].map(([, id = '', file = '']) => {
      const files = [...graph(file)]
      return { id, bytes: sizeOf(files.map((name) => join(folder, name))), code: files.map(code).join('') }
    })
    expect(sizes.length).toBeGreaterThan(60)
    for (const { id, bytes, code: text } of sizes) {
      expect([id, bytes < 1_700_000]).toEqual([id, true])
      // Drivers, OpenPGP, PDF and oclif's help come when they are asked for: import `@oclif/core/flags`, not all of it.
      expect([
        id,
        /class PDFDocument|readPrivateKeys|mysql_native_password|CommandHelp\b/.exec(text)?.[0],
      ]).toEqual([id, undefined])
    }
  })
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
