import { describe, expect, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { helpGroups, topics } from '../../commands/_program/topics.ts'
import { kvxVersion } from '../../src/version.ts'
import { commandFiles, manifest } from '../../tools/build.ts'
import { kvx, kvxJson, kvxOk } from '../support/cli.ts'
import { commandFacts } from '../support/commands.ts'

type Flag = { readonly char?: string; readonly description?: string; readonly summary?: string }
type Entry = {
  readonly summary?: string
  readonly flags: Readonly<Record<string, Flag>>
  readonly examples?: readonly { readonly description: string; readonly command: string }[]
}

const built = JSON.parse(await manifest(await commandFiles())) as {
  readonly version: string
  readonly commands: Readonly<Record<string, Entry>>
}
const facts = await commandFacts()
const commands = Object.entries(built.commands)
const ids = Object.keys(built.commands)
const firstWords = [...new Set(ids.map((id) => id.split(':')[0] ?? id))]

describe.each(commands)('%s', (id, command) => {
  test('reads no argument from standard input, where a key may be waiting', () => {
    const args = Object.entries(facts.get(id)?.args ?? {})
    expect(args.filter(([, { ignoreStdin }]) => ignoreStdin !== true)).toEqual([])
  })

  test('has a summary of one line', () => {
    expect(command.summary).toMatch(/^[^\n]{10,100}\.$/)
  })

  test('has examples of itself, with long flags', () => {
    const examples = command.examples ?? []
    expect(examples.length).toBeGreaterThanOrEqual(1)
    const words = `<%= config.bin %> ${id.replaceAll(':', ' ')}`
    for (const { description, command: line } of examples) {
      expect(description).not.toBe('')
      expect(line).toContain(words)
      const own = line.slice(line.indexOf(words) + words.length).split(/ \| | && | \d?< /)[0] ?? ''
      expect(own).not.toMatch(/(^|\s)-[a-zA-Z]\b/)
      const flags = [...own.matchAll(/\s--([a-z-]+)/g)].map(([, flag = '']) => flag)
      expect(flags.filter((flag) => !(flag in command.flags))).toEqual([])
    }
  })

  test('says of each flag what it is for', () => {
    const silent = Object.entries(command.flags).filter(([, flag]) => !(flag.description ?? flag.summary))
    expect(silent.map(([name]) => name)).toEqual([])
  })
})

describe('the help', () => {
  test('has every command in exactly one group, and nothing else', () => {
    expect(helpGroups.flatMap((group) => group.commands).toSorted()).toEqual(firstWords.toSorted())
  })

  test('describes every topic', () => {
    const needed = ids.filter((id) => id.includes(':')).map((id) => id.split(':')[0] ?? id)
    expect(Object.keys(topics).toSorted()).toEqual([...new Set(needed)].toSorted())
  })

  test.each([[[]], [['--help']], [['-h']], [['help']]])('shows the groups for `kvx %s`', (argv) => {
    const { stdout } = kvxOk(argv)
    const shown = stdout.split('\n')
    const titles = shown.filter((line) => helpGroups.some(({ title }) => title === line))
    expect(titles).toEqual(helpGroups.map(({ title }) => title))
    const lines = shown
      .filter((line) => /^ {2}[a-z]+ {2,}\S/.test(line))
      .map((line) => line.trim().split(' ')[0])
    expect(lines).toEqual(helpGroups.flatMap((group) => group.commands))
    expect(stdout).not.toContain('\nOthers\n')
  })

  test('of one command comes by --help, -h, and `kvx help`', () => {
    const expected = kvxOk(['rewrap', '--help']).stdout
    expect(expected).toContain('$ kvx rewrap')
    expect(kvxOk(['rewrap', '-h']).stdout).toBe(expected)
    expect(kvxOk(['help', 'rewrap']).stdout).toBe(expected)
  })

  test('of a topic lists its commands', () => {
    for (const argv of [['key'], ['key', '--help'], ['help', 'key']]) {
      const { stdout } = kvxOk(argv)
      for (const id of ids.filter((each) => each.startsWith('key:')))
        expect(stdout).toContain(id.replace(':', ' '))
    }
  })
})

describe('the version', () => {
  test('is that of package.json everywhere', () => {
    expect(built.version).toBe(packageJson.version)
    expect(kvxVersion).toBe(packageJson.version)
    expect(kvxOk(['--version']).stdout).toMatch(
      new RegExp(`^kvx/${packageJson.version.replaceAll('.', '\\.')} linux-`),
    )
  })
})

test('an argument that is missing is not taken from standard input', () => {
  const { exit, stderr } = kvx(['key', 'show'], { input: 'master' })
  expect({ exit, stderr: stderr.split('\n')[0] }).toEqual({
    exit: 2,
    stderr: 'kvx: an argument is missing: NAME',
  })
})

test.each([[['nonsense']], [['key', 'nonsense']], [['help', 'nonsense']]])(
  'an unknown command is exit 2 and one sentence: kvx %s',
  (argv) => {
    const { exit, stdout, stderr } = kvx(argv)
    expect({ exit, stdout }).toEqual({ exit: 2, stdout: '' })
    expect(stderr).toMatch(/^kvx: there is no command (key )?nonsense\n/)
    expect(stderr).not.toMatch(/\n\s+at /)
    const { error } = kvxJson(argv)
    expect(error).toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('there is no command') as string,
    })
  },
)
