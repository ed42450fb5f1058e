import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parseRecord } from '../../src/ceremony/record.ts'
import { vectorText } from '../core/share/fixture.ts'
import type { Terminal } from '../support/terminal.ts'
import { CeremonySite, openCeremony } from './site.ts'

const site = new CeremonySite()
const folder = site.file('held')
const events = join(folder, 'events.jsonl')
afterAll(() => site.close())

const outline = `title: Three small steps about @key@
roles:
  administrator: does it
  witness: looks
steps:
  - { title: One, role: witness, text: The first. }
  - { title: Two, role: administrator, text: Fails., run: [key, show, nothing] }
  - { title: Three, role: witness, text: The last., ask: { number: A number } }
`

async function atTerminal(
  args: readonly string[],
  work: (terminal: Terminal) => Promise<void>,
): Promise<number> {
  const terminal = site.terminal('ceremony', 'run', folder, ...args)
  try {
    await work(terminal)
    return await terminal.ended()
  } finally {
    terminal.close()
  }
}

describe('a ceremony that does not go as planned', () => {
  it('is refused without custodians where it needs them, and for a key that the configuration does not name', () => {
    expect(site.json('ceremony', 'plan', 'rotation', 'other').error?.code).toBe('KEY_UNKNOWN')
    const bare = site.file('bare.yaml')
    writeFileSync(bare, 'kvx: 1\nkeys: { other: { purpose: kek } }\n', { mode: 0o600 })
    const refused = site.json('ceremony', 'plan', 'rotation', 'other', '--config', bare)
    expect(refused).toMatchObject({
      exit: 2,
      error: { message: 'the plan deals shares, and no custodian is named' },
    })
  })

  it('is not begun by a script that differs from its plan', () => {
    writeFileSync(site.file('outline.yaml'), outline)
    const people = ['--role', `witness=E. Noether=${site.witness}`]
    const from = ['--from', site.file('outline.yaml'), '--out', folder]
    site.json('ceremony', 'plan', 'look', 'master', ...people, ...from)
    const script = join(folder, 'plan.md')
    const text = readFileSync(script, 'utf8')
    writeFileSync(script, text.replace('The first.', 'Another.'))
    expect(site.json('ceremony', 'run', folder, '--dry-run')).toMatchObject({
      exit: 7,
      error: { code: 'PLAN_DIFFERS' },
    })
    writeFileSync(script, text)
    expect(site.json('ceremony', 'run', folder, '--dry-run').exit).toBe(0)
  })

  it('ends in 7 when the people hold another script', async () => {
    const exit = await atTerminal([], async (terminal) => {
      await terminal.see('same SHA-256')
      terminal.press('n')
      terminal.press('\r')
    })
    expect(exit).toBe(7)
  })

  it('C37 goes on after a command that failed only with a reason, and takes no secret for an answer', async () => {
    await atTerminal([], async (terminal) => {
      await openCeremony(terminal)
      await terminal.see(': One')
      await terminal.answer('q: stop here')
      await terminal.answer('Was anything not as it stands')
      await terminal.see(': Two')
      await terminal.answer('q: stop here')
      await terminal.see('ended with exit 2')
      await terminal.answer('That is not as it should be', 'g')
      await terminal.answer('Why go on?', 'the key is made tomorrow')
      await terminal.answer('Was anything not as it stands')
      await terminal.see(': Three')
      await terminal.answer('q: stop here')
      await terminal.answer('A number', vectorText(1))
      await terminal.see('this looks like a share: it is not recorded')
      terminal.press('\x15')
      terminal.press('7\r')
      await terminal.see('Was anything not as it stands')
      terminal.close() // kill -9
    })
    expect(readFileSync(events, 'utf8')).not.toContain(vectorText(1).slice(20, 28))
  })

  it('goes on where it was killed, and says so; a line that was cut off is no event', async () => {
    appendFileSync(events, '{"seq":99,"at":"20')
    const exit = await atTerminal([], async (terminal) => {
      await terminal.answer('same SHA-256')
      await terminal.answer('interrupted before. Why?', 'power cut')
      await terminal.see('Step 3 of 3: Three')
      await terminal.see('q: stop here')
      terminal.press('\x03')
    })
    expect(exit).toBe(10)
  })

  it('is refused when what happened before was edited', async () => {
    const bytes = readFileSync(events)
    writeFileSync(events, bytes.toString().replace('the key is made tomorrow', 'nothing'))
    const terminal = site.terminal('ceremony', 'run', folder)
    expect(await terminal.ended()).toBe(5)
    expect(terminal.screen).toContain('events.jsonl is not as it was written')
    writeFileSync(events, bytes)
  })

  it('is closed with what was done, and is then over', async () => {
    expect(
      await atTerminal(['--end'], async (terminal) => void (await terminal.answer('Another file'))),
    ).toBe(0)
    const record = parseRecord(readFileSync(join(folder, 'record.json')))
    expect(record.result).toBe('incomplete')
    expect(record.events.map(({ kind }) => kind)).toEqual(
      'begin role role role role role done command deviation done answer interrupted end'.split(' '),
    )
    expect(record.deviations.map((seq) => record.events[seq - 1]?.text)).toEqual(['the key is made tomorrow'])
    expect(site.json('ceremony', 'verify', folder).exit).toBe(3)
    const again = site.terminal('ceremony', 'run', folder)
    expect(await again.ended()).toBe(2)
    expect(again.screen).toContain('its record is closed')
  })
})

describe('the preflight', () => {
  type Preflight = { readonly findings: readonly { name: string; state: string; message: string }[] }

  it('tells line by line what the machine is', () => {
    const { exit, data } = site.json<Preflight>('ceremony', 'preflight')
    const names = data.findings.map(({ name }) => name)
    expect(names.filter((name) => !name.startsWith('key '))).toEqual(
      'terminal,recording,core dumps,swap,network,clock,gpg,printing,folder,program'.split(','),
    )
    expect(names.filter((name) => name.startsWith('key '))).toHaveLength(3)
    expect(exit).toBe(0)
  })

  it('stops for a custodian whose key is missing, and warns of one that ends soon', () => {
    const soon = site.gpg.makeKey('soon@example.org', { expire: '30d' })
    const text = [
      'kvx: 1',
      'keys:',
      `  a: { purpose: kek, backup: { recipients: [${soon}] } }`,
      `  b: { purpose: kek, backup: { recipients: [${'A'.repeat(40)}] } }`,
    ].join('\n')
    const config = site.file('keys.yaml')
    writeFileSync(config, `${text}\n`, { mode: 0o600 })
    const at = (key: string) =>
      site.json<Preflight>('ceremony', 'preflight', '--config', config, '--key', key)
    const warned = at('a')
    expect(warned.exit).toBe(0)
    expect(warned.data.findings.find(({ name }) => name.startsWith('key '))).toMatchObject({ state: 'warn' })
    expect(at('b')).toMatchObject({ exit: 6, error: { code: 'UNSAFE_PROCESS' } })
  })
})
