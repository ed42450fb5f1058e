import { readFileSync, rmSync } from 'node:fs'
import { afterAll, expect, it } from 'vitest'
import { splitShareTexts } from '../../src/core/share/share-lines.ts'
import { keys, type Terminal } from '../support/terminal.ts'
import { CeremonySite, openCeremony, step } from './site.ts'

/** Each outline held to its end, one after another: what one leaves is what the next begins with. */

const site = new CeremonySite(2)
const [, second = ''] = site.people
afterAll(() => site.close())

type Record = { result: string; deviations: readonly number[]; events: readonly { text: string }[] }
type Listed = { shareSets: readonly { state: string; version: number }[] }

/** Plans a ceremony, holds it, and gives its record. */
async function hold(
  kind: string,
  roles: readonly (readonly [string, string])[],
  work: (terminal: Terminal) => Promise<void>,
): Promise<Record> {
  const folder = site.file(kind)
  const people = roles.flatMap(([role, name]) => ['--role', `${role}=${name}`])
  expect(site.json('ceremony', 'plan', kind, 'master', ...people, '--out', folder).exit).toBe(0)
  const terminal = site.terminal('ceremony', 'run', folder)
  try {
    await work(terminal)
    await terminal.answer('Another file to keep')
    expect(await terminal.ended()).toBe(0)
  } finally {
    terminal.close()
  }
  const record = JSON.parse(readFileSync(`${folder}/record.json`, 'utf8')) as Record
  // Signatures alone are missing.
  const verified = site.json<{ checks: { name: string; state: string }[] }>('ceremony', 'verify', folder)
  expect(verified.data.checks.filter(({ state }) => state === 'wrong')).toEqual([])
  expect(record).toMatchObject({ result: 'complete', deviations: [] })
  return record
}

const witness = [['witness', `E. Noether=${site.witness}`]] as const
const everybody = ['E. Noether', ...site.people]

/** Each custodian reads the receipt of the new share out. */
async function custodiansProve(terminal: Terminal): Promise<void> {
  for (const [at] of site.people.entries()) {
    await terminal.see('proves the share')
    await terminal.answer('q: stop here')
    await terminal.answer('Receipt, as', site.receipt(site.file('.kvx'), at + 1))
    await terminal.answer('Number on the bag', 'none')
    await terminal.answer('Was anything not as it stands')
  }
}

function states(): readonly string[] {
  return site.json<Listed>('backup', 'list').data.shareSets.map(({ state, version }) => `${version} ${state}`)
}

const timeout = 120_000

it('C36 key generation: a key is made, divided, and every share of it proven', { timeout }, async () => {
  const { events } = await hold('key-generation', witness, async (terminal) => {
    await openCeremony(terminal, everybody)
    await step(terminal, 'The room')
    await step(terminal, 'The machine')
    await step(terminal, 'The key is made', ['The check value', 'as on the screen'])
    await step(terminal, 'The key is divided')
    await custodiansProve(terminal)
    await step(terminal, 'What there is')
    await step(terminal, 'The end')
  })
  expect(states()).toEqual(['1 active'])
  // The set carries the id of the ceremony that dealt it, and nobody was asked to agree twice.
  const { shareSets } = site.json<{ shareSets: { ceremony: { id: string } }[] }>('backup', 'list').data
  expect(shareSets[0]?.ceremony.id).toBe(planId('key-generation'))
  expect(events.some(({ text }) => text.startsWith('kvx backup split master'))).toBe(true)
})

it('C36 custodian change: the key is divided anew, and the old set is superseded', { timeout }, async () => {
  await hold('custodian-change', witness, async (terminal) => {
    await openCeremony(terminal, everybody)
    await step(terminal, 'The room', ['Who leaves', 'nobody; new cards'])
    await step(terminal, 'The machine')
    await step(terminal, 'The key is divided anew')
    await custodiansProve(terminal)
    await step(
      terminal,
      'The old shares are destroyed',
      ['old shares that were destroyed', '1, 2'],
      ['old shares that were not', 'none'],
    )
    await step(terminal, 'What there is')
  })
  expect(states()).toEqual(['1 superseded', '1 active'])
})

it('C36 recovery: the key comes back from its shares, and a second person recognises it', {
  timeout,
}, async () => {
  const keyFile = site.file('.kvx/keys/master.v1.key')
  const key = readFileSync(keyFile)
  rmSync(keyFile)
  const owner = ['owner', `H. Poincaré=${site.custodians[0] ?? ''}`] as const
  await hold('recovery', [...witness, owner], async (terminal) => {
    await openCeremony(terminal, ['E. Noether', 'H. Poincaré', ...site.people])
    await step(terminal, 'The room', ['Why the key', 'the disk is gone'])
    await step(terminal, 'The machine')
    await step(terminal, 'The fingerprint', ['comes from', 'the record of the ceremony in which it was made'])
    await step(terminal, 'The bags', ['bags that were opened', 'none'])
    await terminal.see(': The shares are entered')
    await terminal.answer('q: stop here')
    for (const index of [1, 2]) {
      await terminal.see('You have')
      const [text = new Uint8Array()] = splitShareTexts(site.letter(site.file('.kvx'), index))
      terminal.press(`${Buffer.from(text).toString().replaceAll('\n', keys.enter)}${keys.enter}`)
    }
    await terminal.answer('the last six characters', site.fingerprint('master').slice(-6))
    await terminal.answer('Was anything not as it stands')
    await step(terminal, 'The key opens what it should')
    await step(terminal, 'The shares go back', ['new bags', `${second} holds both`])
  })
  expect(readFileSync(keyFile)).toEqual(key)
})

it('C36 rotation: a new version is made, divided, proven, and waits to be activated', {
  timeout,
}, async () => {
  await hold('rotation', witness, async (terminal) => {
    await openCeremony(terminal, everybody)
    await step(terminal, 'The room')
    await step(terminal, 'The machine')
    await step(terminal, 'What there is now')
    await step(
      terminal,
      'The new version is made',
      ['Rotate master?', 'y'],
      ['check value of the new', 'as on the screen'],
    )
    await step(terminal, 'The new version is divided')
    await custodiansProve(terminal)
    await step(terminal, 'What there is')
  })
  expect(states()).toEqual(['1 superseded', '1 active', '2 active'])
  const { exit, error } = site.json('rotate', 'master', '--activate', '--rolled-out', '--yes')
  expect(exit, JSON.stringify(error)).toBe(0)
})

function planId(kind: string): string | undefined {
  return /^id: "?([\w-]+)"?$/m.exec(readFileSync(site.file(kind, 'plan.yaml'), 'utf8'))?.[1]
}
