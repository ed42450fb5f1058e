import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { spawn } from '@lydell/node-pty'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { shells } from '../../src/ui/completion.ts'
import { kvx, kvxOk } from '../support/cli.ts'
import { commandFacts } from '../support/commands.ts'
import { needsTool } from '../support/needs.ts'

const folder = mkdtempSync('/var/tmp/kvx-completion-')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const facts = await commandFacts()
const files = Object.fromEntries(
  shells.map((shell) => {
    const file = join(folder, `kvx.${shell}`)
    writeFileSync(file, kvxOk(['completion', shell]).stdout)
    return [shell, file]
  }),
)
writeFileSync(join(folder, 'some.key'), '')

const byCode = (one: string, other: string): number => (one < other ? -1 : 1)

/** What a shell offers for a line whose cursor stands at its end. */
type Offers = (line: string) => readonly string[]

function output(program: string, args: readonly string[]): readonly string[] {
  const { stdout, stderr, status } = spawnSync(program, args, { cwd: folder, encoding: 'utf8' })
  expect(stderr).toBe('')
  expect(status, stdout).toBe(0)
  return stdout.split('\n').filter((line) => line !== '')
}

const bash: Offers = (line) => {
  // Words as readline parts them: at blanks and at `=`.
  const words = line.split(/ +|(?<==)|(?==)/).map((word) => `'${word}'`)
  const script = `source ${files['bash'] ?? ''}; COMP_WORDS=(${words.join(' ')}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _kvx; printf '%s\\n' "\${COMPREPLY[@]}"`
  return output('bash', ['--norc', '-c', script])
}

const fish: Offers = (line) =>
  output('fish', ['--no-config', '-c', `source ${files['fish'] ?? ''}; complete -C '${line}'`]).map(
    (offer) => offer.split('\t')[0]?.replace(/^--format=/, '') ?? '',
  )

describe.each([
  ['bash', bash],
  ['fish', fish],
] as const)('completion in %s', (shell, offers) => {
  beforeEach((context) => needsTool(context, shell))

  test('offers every command and topic', () => {
    const words = [...new Set([...facts.keys()].map((id) => id.split(':')[0] ?? ''))]
    expect(offers('kvx ').toSorted()).toEqual(words.toSorted())
  })

  test('offers what begins as it was typed', () => {
    expect(offers('kvx re').toSorted()).toEqual(['reencrypt', 'restore', 'retire', 'rewrap'])
  })

  test('offers the commands of a topic, also after a flag', () => {
    const own = [...facts.keys()].filter((id) => id.startsWith('run:')).map((id) => id.slice(4))
    expect(offers('kvx run ').toSorted()).toEqual(own.toSorted())
    expect(offers('kvx --json run ').toSorted()).toEqual(own.toSorted())
  })

  test('offers the flags of a command, and not those of others', () => {
    const flags = offers('kvx rotate --')
    const own = [...(facts.get('rotate')?.flags ?? [])].map((flag) => `--${flag}`)
    expect(flags.filter((flag) => flag !== '--help').toSorted()).toEqual(own.toSorted())
    expect(flags).not.toContain('--textfile')
  })

  test('offers the values of a flag that has a list of them', () => {
    const forms = ['github', 'human', 'json', 'junit', 'sarif']
    expect(offers('kvx check --format ').toSorted()).toEqual(forms)
    expect(
      offers('kvx check --format=')
        .map((offer) => offer.split('=').at(-1) ?? '')
        .toSorted(byCode),
    ).toEqual(forms)
  })

  test('offers files where a file goes, and none where a number does', () => {
    expect(offers('kvx check so')).toEqual(['some.key'])
    expect(offers('kvx metrics --textfile so')).toEqual(['some.key'])
    expect(offers('kvx verify --sample so')).toEqual([])
  })
})

describe('completion in zsh', () => {
  beforeEach((context) => needsTool(context, 'zsh'))

  /** A real zsh on a terminal: what it draws after Tab, until it drew all of these. */
  async function draws(line: string, ...expected: string[]): Promise<void> {
    const env = { PATH: process.env['PATH'] ?? '', TERM: 'xterm', HOME: folder, ZDOTDIR: folder }
    const zsh = spawn('zsh', ['-f', '-i'], { name: 'xterm', cols: 150, rows: 60, cwd: folder, env })
    let screen = ''
    const shown = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`never drew ${expected.join(', ')}\n${screen}`)),
        20_000,
      )
      zsh.onData((data) => {
        screen += stripVTControlCharacters(data)
        const drawn = screen.slice(screen.indexOf('ready> '))
        if (!screen.includes('ready> ') || !expected.every((text) => drawn.includes(text))) return
        clearTimeout(timer)
        resolve()
      })
    })
    zsh.write(
      `autoload -Uz compinit; compinit -u; source ${files['zsh'] ?? ''}; LISTMAX=1000; setopt auto_list no_always_last_prompt; PS1='ready''> '; clear\r`,
    )
    zsh.write(`${line}\t`)
    try {
      await shown
    } finally {
      zsh.kill('SIGKILL')
    }
  }

  test('offers commands with what they do', async () => {
    await draws('kvx re', 'reencrypt', 'rewrap', 'Move wrapped DEKs')
  })

  test('offers the commands of a topic and the values of a flag', async () => {
    await draws('kvx run ', 'resume', 'rollback')
    await draws('kvx check --format ', 'sarif', 'junit')
  })

  test('offers a flag with what it is for', async () => {
    await draws('kvx metrics --textf', '--textfile', 'write to this file')
  })
})

test('the scripts hold no path of this machine and are the same each time', () => {
  for (const shell of shells) {
    const { stdout } = kvxOk(['completion', shell])
    expect(stdout).toBe(kvxOk(['completion', shell]).stdout)
    expect(stdout).not.toMatch(/\/work|\/var\/tmp|node_modules/)
  }
})

test('another shell is refused with those that there are', () => {
  const { exit, stderr } = kvx(['completion', 'tcsh'])
  expect(exit).toBe(2)
  expect(stderr).toContain('bash, zsh, fish')
})
