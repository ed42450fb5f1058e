import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { atTerminal as personAt, type Screen, type Step } from '../backup/shares/terminal.ts'
import { pgpWords } from '../../src/core/pgp-words.ts'
import { longestLeak, vectorText } from '../core/share/fixture.ts'
import { copiedCard as copied, scannedCard } from '../support/cards.ts'
import { kvx, kvxBin, type KvxDocument, root } from '../support/cli.ts'

const folder = mkdtempSync('/var/tmp/kvx-cards-')
/** A folder in memory that nobody else enters. */
const memory = mkdtempSync('/dev/shm/kvx-cards-')
const env = { HOME: folder, GNUPGHOME: join(folder, 'no-gnupg'), LC_ALL: 'C', TERM: 'xterm' }
/** Everybody who is here agrees to the list. */
const agree: Step = [/agree to this list, and to any 2 of 3\?/, 'y\r']
const leave = '\x1b[2J\x1b[3J\x1b[H\x1b[?1049l'

beforeAll(() => {
  chmodSync(memory, 0o700)
  const custodians = ['A. Boole', 'C. Dirac', 'E. Fermi'].map((name) => `{ name: ${name} }`).join(', ')
  const text = `kvx: 1
keys:
  master:
    purpose: kek
    publish: [{ file: published.key }]
    backup: { shares: { threshold: 2, of: 3, custodians: [${custodians}] } }
`
  writeFileSync(join(folder, 'kvx.yaml'), text, { mode: 0o600 })
  expect(kvx(['init'], { cwd: folder, env }).exit).toBe(0)
  const made = kvx(['keygen', 'master'], { cwd: folder, env })
  expect(made.exit, made.stderr).toBe(0)
})

afterAll(() => {
  for (const path of [folder, memory]) rmSync(path, { recursive: true, force: true })
})

async function atTerminal(
  args: readonly string[],
  steps: readonly Step[],
  more: Readonly<Record<string, string>> = {},
): Promise<Screen> {
  return personAt(args, steps, { cwd: folder, env: { ...env, ...more } })
}

function json<T = Record<string, unknown>>(args: readonly string[], input = ''): KvxDocument<T> {
  return JSON.parse(kvx([...args, '--json'], { cwd: folder, env, input }).stdout) as KvxDocument<T>
}

function scanned(pdf: Uint8Array): string {
  return scannedCard(pdf, memory)
}

describe('share print', () => {
  it('C42 sends a card as PDF into a pipe, and nothing else', () => {
    const args = ['share', 'print', '--share-fd', '0', '--out', '-']
    const pdf = execFileSync(kvxBin, args, {
      cwd: folder,
      env: { ...env, PATH: process.env['PATH'] ?? '' },
      input: vectorText(4),
    })
    expect(scanned(pdf)).toBe(vectorText(4))
  })

  it('C44 writes a PDF into memory alone, for its owner alone, over no other file', () => {
    const path = join(memory, 'card.pdf')
    const args = ['share', 'print', '--share-fd', '0', '--out']
    expect(json([...args, path], vectorText(2))).toMatchObject({
      exit: 0,
      data: { set: 'KVXDEM', index: 2, file: path },
    })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(memory)).toEqual(['card.pdf'])
    expect(scanned(readFileSync(path))).toBe(vectorText(2))
    expect(json([...args, path], vectorText(2))).toMatchObject({ exit: 2, error: { code: 'TARGET_EXISTS' } })
    rmSync(path)
    const disk = json([...args, join(folder, 'card.pdf')], vectorText(2))
    expect(disk).toMatchObject({ exit: 6, error: { code: 'UNSAFE_DIRECTORY' } })
    expect(existsSync(join(folder, 'card.pdf'))).toBe(false)
    expect(json([...args, '-'], vectorText(2))).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
  })

  it('C18 shows no share where stdout is no terminal: exit 2 before the share is read', () => {
    const refused = json(['share', 'print', '--share-fd', '0'], vectorText(2))
    expect(refused).toMatchObject({ exit: 2, error: { code: 'NO_TERMINAL' } })
    expect(json(['share', 'print', '--share-fd', '0'], 'not a share')).toMatchObject({
      error: { code: 'NO_TERMINAL' },
    })
  })

  it('shows the share with its code on the terminal, with a warning where the terminal is kept', async () => {
    const steps = [
      [/asciinema records[\s\S]*it is not shown:/, vectorText(1)],
      [/screen is cleared/, '\r'],
    ] as const
    const { screen, exit } = await atTerminal(['share', 'print'], steps, { ASCIINEMA_REC: '1' })
    expect(exit, screen).toBe(0)
    expect(copied(screen).replaceAll(' ', '')).toBe(vectorText(1))
    expect(screen).toContain('█')
    expect(screen.lastIndexOf(leave)).toBeGreaterThan(screen.lastIndexOf('KVX1'))
  })

  it.each([
    ['Ctrl-C', '\x03', 130],
    ['a hang-up', { signal: 'SIGHUP' }, 129],
    ['a request to end', { signal: 'SIGTERM' }, 143],
    ['an interrupt from outside', { signal: 'SIGINT' }, 130],
  ] as const)('C46 clears the screen at %s', async (_, how, code) => {
    const steps: readonly Step[] = [
      [/it is not shown:/, vectorText(1)],
      [/screen is cleared/, how],
    ]
    const { screen, exit } = await atTerminal(['share', 'print'], steps)
    expect(exit, screen).toBe(code)
    expect(copied(screen).replaceAll(' ', '')).toBe(vectorText(1))
    expect(screen.indexOf(leave)).toBeGreaterThan(screen.lastIndexOf('KVX1'))
  })

  it('C46 clears the screen when something throws meanwhile', async () => {
    const module = join(root, 'src/ui/private-screen.ts')
    const program = `import { showPrivately } from ${JSON.stringify(module)}
      process.stdin.once('data', () => setImmediate(() => { throw new Error('on purpose') }))
      await showPrivately(['SECRET'])`
    const path = join(folder, 'throws.mjs')
    writeFileSync(path, program)
    const { screen, exit } = await personAt([path], [[/SECRET/, 'x']], {
      cwd: folder,
      env,
      program: process.execPath,
    })
    expect(exit).not.toBe(0)
    expect(screen.indexOf(leave)).toBeGreaterThan(screen.indexOf('SECRET'))
  })

  it('C46 leaves nothing in the history of a terminal', { timeout: 60_000 }, () => {
    const socket = join(folder, 'tmux')
    const tmux = (...args: string[]): string =>
      execFileSync('tmux', ['-S', socket, ...args], {
        encoding: 'utf8',
        env: { ...env, PATH: process.env['PATH'] ?? '' },
      })
    const share = join(memory, 'share')
    writeFileSync(share, vectorText(3), { mode: 0o600 })
    try {
      const shown = `${kvxBin} share print --share-fd 3 3< ${share}; tmux -S ${socket} wait-for -S ended; cat`
      tmux(
        'new-session',
        '-d',
        '-x',
        '80',
        '-y',
        '24',
        '-s',
        'one',
        `tmux -S ${socket} wait-for begin; ${shown}`,
      )
      tmux('wait-for', '-S', 'begin')
      const seen = (): string => tmux('capture-pane', '-p', '-S', '-', '-t', 'one')
      for (let left = 200; left > 0 && !seen().includes('Press Enter'); left--) spawnSync('sleep', ['0.05'])
      expect(seen()).toContain('KVX1 QZYZ')
      expect(seen()).toContain('Press Enter')
      tmux('send-keys', '-t', 'one', 'Enter')
      tmux('wait-for', 'ended')
      expect(seen()).toContain('the card of share 3')
      expect(longestLeak(seen(), vectorText(3).slice(22))).toBeLessThan(4)
    } finally {
      spawnSync('tmux', ['-S', socket, 'kill-server'])
      rmSync(share)
    }
  })
})

describe('a split among custodians without OpenPGP keys', () => {
  type Split = {
    set: string
    state: string
    fingerprint: string
    ceremony: { id: string; nonce: string }
    shares: readonly { confirmed: boolean; file: string | null }[]
  }

  it('hands a card to each in turn and has it typed back: the set is active when the room empties', async () => {
    const steps = ['A. Boole', 'C. Dirac', 'E. Fermi'].flatMap((name, at): Step[] => [
      ...(at === 0 ? [agree] : []),
      [new RegExp(`is for ${name}[\\s\\S]*ready\\?`), 'y\r'],
      [/screen is cleared/, '\r'],
      [new RegExp(`${name}: type, paste or scan`), (said) => `${copied(said)}\r`],
    ])
    const { screen, exit } = await atTerminal(['backup', 'split', 'master'], steps)
    expect(exit, screen).toBe(0)
    const { data } = json<{ shareSets: readonly Split[] }>(['backup', 'list'])
    expect(data.shareSets).toMatchObject([{ state: 'active' }])
    expect(data.shareSets[0]?.shares.map(({ confirmed, file }) => [confirmed, file])).toEqual([
      [true, null],
      [true, null],
      [true, null],
    ])
    // What everybody saw before the key was read is what the manifest and each card say.
    const { ceremony } = data.shareSets[0] ?? { ceremony: { id: '', nonce: '' } }
    expect(screen).toContain(`ceremony ${ceremony.id}, nonce: ${pgpWords(ceremony.nonce).join(' ')}`)
    expect(screen.indexOf('nonce: ')).toBeLessThan(screen.indexOf('is for A. Boole'))
    expect(screen).toMatch(/OK +clock/)
    expect(screen).toContain(
      pgpWords(data.shareSets[0]?.fingerprint ?? '')
        .slice(0, 8)
        .join(' '),
    )
    // No two shares on one screen: each is cleared before the next is drawn.
    const parts = screen.split('\x1b[?1049h').slice(1)
    expect(parts).toHaveLength(3)
    for (const part of parts) expect(part.indexOf(leave)).toBeGreaterThan(part.lastIndexOf('KVX1 '))
    rebuilt([copied(parts[0] ?? ''), copied(parts[2] ?? '')])
  })

  it('divides nothing before everybody agreed to the list and the numbers', async () => {
    const before = json<{ shareSets: readonly Split[] }>(['backup', 'list']).data.shareSets
    const no = await atTerminal(['backup', 'split', 'master'], [[/any 2 of 3\?/, '\r']])
    expect(no.exit, no.screen).toBe(2)
    expect(no.screen).toMatch(/1 +A\. Boole +no OpenPGP key +by card/)
    expect(json<{ shareSets: readonly Split[] }>(['backup', 'list']).data.shareSets).toEqual(before)
  })

  it('puts one PDF after another into memory, and removes it when its custodian holds the card', async () => {
    const texts: string[] = []
    const print = (): string => {
      const [name = '', ...more] = readdirSync(memory).filter((file) => file.endsWith('.pdf'))
      if (more.length > 0) throw new Error('two cards at once')
      texts.push(scanned(readFileSync(join(memory, name))))
      return 'y\r'
    }
    const steps = [1, 2, 3].flatMap((at): Step[] => [
      ...(at === 1 ? [agree] : []),
      [/ready\?/, 'y\r'],
      [/Does .* hold the card\?/, print],
      [/type, paste or scan/, () => `${texts.at(-1) ?? ''}\r`],
    ])
    const { screen, exit } = await atTerminal(['backup', 'split', 'master', '--card-dir', memory], steps)
    expect(exit, screen).toBe(0)
    expect(readdirSync(memory)).toEqual([])
    for (const text of texts) expect(longestLeak(screen, text.slice(22))).toBeLessThan(8)
    rebuilt(texts.slice(1))
  })

  it('C14 is aborted when somebody leaves, and counts for nothing; a wrong card is named and asked for again', async () => {
    const steps: readonly Step[] = [
      agree,
      [/ready\?/, 'y\r'],
      [/screen is cleared/, '\r'],
      [/A\. Boole: type, paste or scan/, vectorText(1)],
      [/is of set KVXDEM[\s\S]*type, paste or scan/, '\x04'],
      [/C\. Dirac here and ready\?/, 'n\r'],
    ]
    const { screen, exit } = await atTerminal(['backup', 'split', 'master'], steps)
    expect(exit, screen).toBe(130)
    const { data } = json<{ shareSets: readonly Split[] }>(['backup', 'list'])
    expect(data.shareSets.at(-1)).toMatchObject({ state: 'aborted' })
  })

  it('C18 refuses without a terminal, naming who has no key, before the key is read', () => {
    const refused = json(['backup', 'split', 'master'])
    expect(refused).toMatchObject({ exit: 2, error: { code: 'NO_TERMINAL' } })
    expect(refused.error?.message).toContain('A. Boole, C. Dirac, E. Fermi')
  })

  it('C41 makes a lost card again on the screen, out of the shares that two others type', async () => {
    const { data } = json<{ shareSets: readonly (Split & { manifest: string })[] }>(['backup', 'list'])
    const { set, manifest } = data.shareSets[0] ?? { set: '', manifest: '' }
    const steps: readonly Step[] = [
      [/You have none/, `${first[0] ?? ''}\r`],
      [/You have 1/, `${first[1] ?? ''}\r`],
      [/screen is cleared/, '\r'],
    ]
    const { screen, exit } = await atTerminal(
      ['backup', 'recreate-share', set, '--index', '2', '--card'],
      steps,
    )
    expect(exit, screen).toBe(0)
    const verify = ['share', 'verify', '--share-fd', '0', '--manifest', manifest]
    expect(json(verify, copied(screen))).toMatchObject({ exit: 0, data: { index: 2, dealt: true } })
  })
})

it('trains at a terminal with the shares of a throw-away key, shown and typed back', async () => {
  const cards: string[] = []
  const copy = (said: string): string => {
    cards.push(copied(said))
    return '\r'
  }
  const steps: readonly Step[] = [
    [/TRAINING/, copy],
    [/TRAINING/, copy],
    [/You have none/, () => `${cards[1] ?? ''}\r`],
    [/You have 2/, () => `${cards[0] ?? ''}\r`],
  ]
  const { screen, exit } = await atTerminal(['backup', 'drill', 'master', '--dry-run'], steps)
  expect(exit, screen).toBe(0)
  expect(screen).toContain('training: 2 of 3 shares of a throw-away key rebuilt it')
  expect(cards[0]).toContain('EXAM PL') // the set of every training
})

const first: string[] = []

/** Two cards are the key. The first two that were proven are kept. */
function rebuilt(cards: readonly string[]): void {
  const out = join(memory, 'two.key')
  const args = ['restore', '--from', 'shares', '--share-fd', '0', '--out', out]
  expect(json(args, cards.join('\n'))).toMatchObject({ exit: 0 })
  expect(readFileSync(out)).toEqual(readFileSync(join(folder, '.kvx/keys/master.v1.key')))
  rmSync(out)
  if (first.length === 0) first.push(...cards)
}
