import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { kvxBin } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

/*
 * What a person sees in a real terminal (tmux), kept as files: a change of a screen is seen in a review.
 * `npx vitest run test/screens -u` takes them anew; what differs from run to run is replaced by words of its kind.
 */

const newFolder = (): string => mkdtempSync('/var/tmp/kvx-test-')
const gpg = new GpgHome()
const sockets = newFolder()
const begun: Workspace[] = []
let servers = 0
let fresh: Workspace
let rotated: Workspace

beforeAll(() => {
  const fingerprint = gpg.makeKey('operator <operator@example.org>')
  fresh = makeWorkspace({ shape: plainTwoLevels, rows: 60, recipients: [fingerprint], gpg }).begin()
  fresh.put(7, fresh.strangeKey())
  rotated = makeWorkspace({ shape: plainTwoLevels, rows: 60, recipients: [fingerprint], gpg }).begin()
  rotated.ok('backup', 'create', 'master')
  rotated.ok('rotate', 'master', '--offline', '--yes')
  begun.push(fresh, rotated)
})

afterAll(() => {
  gpg.remove()
  for (const { path } of begun) rmSync(path, { recursive: true, force: true })
  rmSync(sockets, { recursive: true, force: true })
})

type Terminal = { readonly columns: 80 | 120; readonly colour: boolean }

type Tmux = (...args: string[]) => string

/** Runs a line in a terminal of its own and takes what `look` makes of it; colours are escape sequences. */
async function inTerminal<T>(
  line: string,
  { path, env }: Workspace,
  { columns, colour }: Terminal,
  look: (tmux: Tmux, screen: () => string) => T | Promise<T>,
): Promise<T> {
  // A server of its own each time: one that is ending would take the next session with it.
  const socket = `${sockets}/${++servers}`
  const PATH = `${dirname(kvxBin)}:${process.env['PATH'] ?? ''}`
  const tmux: Tmux = (...args) =>
    execFileSync('tmux', ['-S', socket, '-f', '/dev/null', ...args], {
      cwd: path,
      env: { PATH, TERM: 'xterm-256color', ...env, ...(colour ? {} : { NO_COLOR: '1' }) },
      encoding: 'utf8',
    })
  const shown = `sh -c 'trap : INT; ${line}; echo "[exit $?]"; tmux -S ${socket} wait-for -S ended; cat'`
  tmux('new-session', '-d', '-s', 'one', '-x', String(columns), '-y', '120', shown)
  const screen = (): string =>
    settled(tmux('capture-pane', '-p', '-J', ...(colour ? ['-e'] : []), '-t', 'one'), path)
  try {
    return await look(tmux, screen)
  } finally {
    tmux('kill-server')
  }
}

/** The whole screen after the command has ended. */
async function screenOf(line: string, workspace: Workspace, terminal: Terminal): Promise<string> {
  return await inTerminal(line, workspace, terminal, (tmux, screen) => {
    tmux('wait-for', 'ended')
    return screen()
  })
}

/** Without what differs from run to run. */
function settled(text: string, path: string): string {
  const changes: readonly (readonly [RegExp, string])[] = [
    [/\d{8}T\d{6}Z-[a-z0-9]{6}/g, 'RUN'],
    [/\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?Z?)?/g, 'DATE'],
    [/\b[0-9a-fA-F]{64}\b/g, 'SHA-256'],
    [/\b[0-9A-F]{40}\b/g, 'FINGERPRINT'],
    [/\b[0-9A-F]{10}\b/g, 'CHECK'],
    [/\bin \d+\.\d s\b/g, 'in TIME'],
    [/\b[\d,]+ ?(?:records\/s|\/s)/g, 'RATE'],
    [
      /\[=* *\] (\w+ \S+ {2})\d+ of 60 {2}RATE(?:, \d+ s left)?/g,
      '[=====                   ] $1N of 60  RATE, TIME left',
    ],
    [/\bbackup [0-9A-Z]{8}\b/g, 'backup ID'],
    [/\.v(\d)\.[0-9A-Z]{8}\./g, '.v$1.ID.'],
    [/\bprocess \d+/g, 'process PID'],
  ]
  const lines = text.replaceAll(path, '/srv/app').trimEnd()
  return `${changes.reduce((all, [pattern, word]) => all.replaceAll(pattern, word), lines)}\n`
}

type Screen = {
  readonly name: string
  readonly line: string
  readonly place: () => Workspace
}

const unchanged = (): Workspace => fresh
const afterRotation = (): Workspace => rotated

/** For a command that changes something. */
function copied(): Workspace {
  const copy = rotated.copy()
  begun.push(copy)
  return copy
}

const screens: readonly Screen[] = [
  { name: 'help', line: 'kvx --help', place: unchanged },
  { name: 'help-rotate', line: 'kvx rotate --help', place: unchanged },
  { name: 'keygen', line: 'kvx keygen tk --dir /srv/keys', place: unchanged },
  { name: 'check', line: 'kvx check weak.key', place: unchanged },
  { name: 'verify-unreadable', line: 'kvx verify', place: unchanged },
  { name: 'status', line: 'kvx status', place: unchanged },
  { name: 'rewrap-plan', line: 'kvx rewrap --dry-run', place: afterRotation },
  { name: 'rewrap', line: 'kvx rewrap --yes', place: copied },
  { name: 'refusal', line: 'kvx retire master@1 --confirm master@1', place: copied },
  { name: 'error', line: 'kvx rotate mastre', place: unchanged },
]

function goldenName(name: string, { columns, colour }: Terminal): string {
  return `${name}.${columns}${colour ? '.colour' : ''}.txt`
}

const terminals: readonly Terminal[] = [
  { columns: 80, colour: true },
  { columns: 80, colour: false },
  { columns: 120, colour: false },
  { columns: 120, colour: true },
]

describe.each(terminals)(
  'a terminal of $columns columns, colour $colour, shows as it is kept',
  (terminal) => {
    test('progress, and what Ctrl-C says', async () => {
      // Slowly enough to be seen in its middle.
      const line = 'kvx rewrap --yes --rate 12 --batch 1'
      const screens = await inTerminal(line, copied(), terminal, async (tmux, screen) => {
        await expect.poll(screen, { timeout: 30_000 }).toMatch(/\] rewrap .* left$/m)
        const working = screen()
        tmux('send-keys', '-t', 'one', 'C-c')
        await expect.poll(screen, { timeout: 30_000 }).toContain('[exit 10]')
        return `${working}--- Ctrl-C\n${screen()}`
      })
      await expect(screens).toMatchFileSnapshot(`golden/${goldenName('progress', terminal)}`)
    })

    test.each(screens)('$name', async ({ name, line, place }) => {
      const workspace = place()
      const folder = newFolder()
      writeFileSync(workspace.file('weak.key'), Buffer.alloc(32), { mode: 0o644 })
      try {
        const screen = await screenOf(line.replace('/srv/keys', folder), workspace, terminal)
        const file = `golden/${goldenName(name, terminal)}`
        await expect(screen.replaceAll(folder, '/srv/keys')).toMatchFileSnapshot(file)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
  },
)
