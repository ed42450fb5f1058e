import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../src/ceremony/digest.ts'
import { ceremonyFolder } from '../../src/ceremony/folder.ts'
import { encodeRecord, hashOfEvent, parseRecord } from '../../src/ceremony/record.ts'
import { renderRecord } from '../../src/ceremony/record-text.ts'
import { verdictOf, verifyRecord, verifySignatures } from '../../src/ceremony/verify.ts'
import { isKvxError } from '../../src/core/errors.ts'
import { pgpWords } from '../../src/core/pgp-words.ts'
import { vectorText } from '../core/share/fixture.ts'
import { CeremonySite, openCeremony, people, step } from './site.ts'

const site = new CeremonySite()
const folder = site.file('made')
afterAll(() => site.close())

type Verified = {
  readonly result: string
  readonly deviations: readonly number[]
  readonly record: { readonly sha256: string; readonly words: string }
  readonly checks: readonly { readonly name: string; readonly state: string; readonly message: string }[]
}

function record() {
  return parseRecord(readFileSync(join(folder, 'record.json')))
}

function verify(...more: readonly string[]) {
  return site.json<Verified>('ceremony', 'verify', folder, ...more)
}

function plan(...more: readonly string[]) {
  const roles = ['--role', `witness=E. Noether=${site.witness}`]
  return site.json('ceremony', 'plan', 'key-generation', 'master', ...roles, ...more)
}

/** What `ceremony verify` does, without starting a process each time. */
async function look(signatures = true): Promise<string | undefined> {
  const at = ceremonyFolder(folder)
  try {
    const verified = await verifyRecord(at)
    const expected = { signers: [], auditKey: undefined, gpgEnv: site.env }
    const checks = signatures ? await verifySignatures(at, verified, expected) : []
    return verdictOf([...verified.checks, ...checks])?.code
  } catch (error) {
    if (isKvxError(error)) return error.code === 'FILE_NOT_FOUND' ? 'DAMAGED' : error.code
    throw error
  }
}

describe('a ceremony in which a key is made and divided', () => {
  it('C36 is planned: a script with numbered steps, blank initials, and its SHA-256 in hex and words', () => {
    const { data } = plan('--out', folder)
    expect(data).toMatchObject({
      steps: 9,
      roles: [{ name: null }, {}, {}, {}, { name: 'E. Fermi' }],
    })
    const script = readFileSync(join(folder, 'plan.md'), 'utf8')
    expect(script.match(/^### \d+\. /gm)).toHaveLength(9)
    expect(script.match(/Initials: _{8} {3}Time \(UTC\): _/g)).toHaveLength(9)
    expect(script).toContain('    kvx backup confirm SET --index 3')
    const sum = execFileSync('sha256sum', [join(folder, 'plan.yaml')])
      .toString()
      .slice(0, 64)
    expect(data['plan']).toEqual({ sha256: sum, words: pgpWords(sum).join(' ') })
    expect(script).toContain(pgpWords(sum).slice(0, 8).join(' '))
    expect(site.json('ceremony', 'run', folder)).toMatchObject({ exit: 2, error: { code: 'NO_TERMINAL' } })
  })

  it('is held at a terminal: keystrokes in, screen out', { timeout: 60_000 }, async () => {
    const terminal = site.terminal('ceremony', 'run', folder)
    try {
      await openCeremony(terminal)
      await step(terminal, 'The room')
      await step(terminal, 'The machine')
      await step(terminal, 'The key is made', ['The check value', 'as on the screen'])
      await terminal.see(': The key is divided')
      await terminal.answer('q: stop here')
      await terminal.answer('Was anything not as it stands', 'E. Fermi came ten minutes late')
      await terminal.answer('Was anything not as it stands')
      for (const index of [1, 2, 3]) {
        await terminal.see('proves the share')
        await terminal.answer('q: stop here')
        await terminal.answer('Receipt, as', site.receipt(site.file('.kvx'), index))
        await terminal.answer('Number on the bag', `00${index}`)
        await terminal.answer('Was anything not as it stands')
      }
      await terminal.see(': What there is')
      await terminal.answer('q: stop here', 's')
      await terminal.answer('Why is this step skipped?', 'read at the step before')
      await step(terminal, 'The end')
      await terminal.answer('Another file to keep', 'published.key.txt')
      await terminal.see('there is no such file')
      terminal.press('\x15')
      terminal.press('\r')
      await terminal.see('SHA-256 of the record')
      expect(await terminal.ended()).toBe(0)
    } finally {
      terminal.close()
    }
    expect(site.json('backup', 'list').data).toMatchObject({ shareSets: [{ state: 'active' }] })
  })

  it('C37 records a deviation as it was said, and a skipped step with its reason', () => {
    const { events, deviations, answers, result, location, roles } = record()
    expect(result).toBe('incomplete')
    expect(location).toBe('Room 4, Geneva')
    expect(deviations.map((seq) => events[seq - 1])).toMatchObject([
      { kind: 'deviation', step: 4, text: 'E. Fermi came ten minutes late' },
      { kind: 'skipped', step: 8, text: 'What there is: read at the step before' },
    ])
    expect(answers.map(({ name, text }) => `${name} ${text}`)).toEqual([
      'check-value as on the screen',
      'bag 001',
      'bag 002',
      'bag 003',
    ])
    expect(roles[1]).toEqual({
      role: 'witness',
      name: 'E. Noether',
      openpgp: site.witness,
      identified: 'known for years',
    })
    const times = events.map(({ at }) => at)
    expect(times).toEqual(times.toSorted())
    const commands = events
      .filter(({ kind }) => kind === 'command')
      .map(({ text, exit }) => `${text}: ${exit}`)
    expect(commands.slice(0, 2)).toEqual(['kvx keygen master: 0', 'kvx backup split master: 0'])
    expect(
      events.filter(({ kind }) => kind === 'preflight').map(({ text }) => text.split(/[: ]+/)[1]),
    ).toEqual(expect.arrayContaining(['terminal', 'swap', 'network', 'clock', 'gpg', 'program']))
  })

  it('C39 gives every digest in hex and as PGP words', () => {
    const { plan, key, artefacts } = record()
    const said = [plan, { sha256: key?.fingerprint ?? '', words: key?.words ?? '' }, ...artefacts]
    expect(said.length).toBeGreaterThan(2)
    for (const { sha256, words } of said) expect(words).toBe(pgpWords(sha256).join(' '))
    // The fingerprint that stands in the description of the list as an example.
    expect(pgpWords('E58294F2E9A227486E8B061B31CC528FD7FA3F19').join(' ')).toBe(
      'topmost Istanbul Pluto vagabond treadmill Pacific brackish dictator goldfish Medusa afflict bravado chatter revolver Dupont midsummer stopwatch whimsical cowbell bottomless',
    )
  })

  it('names key, shares and custodians, and keeps the manifest that binds their files', () => {
    const { key, shareSet, artefacts } = record()
    expect(key).toMatchObject({ name: 'master', version: 1, fingerprint: site.fingerprint('master') })
    expect(shareSet).toMatchObject({ threshold: 2, of: 3, state: 'active' })
    expect(shareSet?.shares.map(({ custodian, confirmed }) => [custodian, confirmed !== null])).toEqual(
      people.map((name) => [name, true]),
    )
    expect(artefacts.map(({ path }) => path)).toEqual([`${shareSet?.set}.json`])
  })

  it('is signed by people with gpg and by the home, and verified against their fingerprints', () => {
    expect(verify()).toMatchObject({ exit: 3 })
    expect(
      site.json('ceremony', 'sign', folder, '--role', 'administrator', '--yes').error?.message,
    ).toContain('names no OpenPGP key')
    for (const role of ['witness', 'custodian-1', 'custodian-2', 'custodian-3']) {
      expect(site.json('ceremony', 'sign', folder, '--role', role, '--yes').exit, role).toBe(0)
    }
    expect(site.json('ceremony', 'sign', folder, '--role', 'witness', '--yes').error?.code).toBe(
      'TARGET_EXISTS',
    )
    expect(site.json('ceremony', 'sign', folder, '--audit-key', '--yes').exit).toBe(0)
    const { data } = site.json<{ publicKeyFingerprint: string }>('audit', 'show')
    const auditKey = record().auditKey ?? ''
    expect(JSON.stringify(data)).toContain('ceremony.record')
    const all = verify('--signer', site.witness, '--expect-fingerprint', auditKey)
    // What is left open is the step that was skipped.
    expect(all.data.checks.filter(({ state }) => state !== 'right')).toEqual([
      { name: 'result', state: 'open', message: 'the ceremony was not brought to its end' },
    ])
    const stranger = site.gpg.makeKey('stranger@example.org')
    expect(verify('--signer', stranger)).toMatchObject({ exit: 3, error: { code: 'FINDINGS' } })
    expect(verify('--expect-fingerprint', '0'.repeat(64))).toMatchObject({ exit: 5 })
    // Plain gpg takes it, too.
    site.gpg.run(['--verify', join(folder, 'signatures/witness.asc'), join(folder, 'record.json')])
  })

  it('C36 detects any edit of the record, the plan, an artefact, a signature', async () => {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.includes('.'),
    )
    expect(files.length).toBe(11)
    expect(await look()).toBe('FINDINGS')
    for (const file of files) {
      const path = join(folder, file)
      const bytes = readFileSync(path)
      for (let part = 0; part < 4; part++) {
        // The first half of an OpenPGP signature has places that mean nothing; its numbers stand in the second.
        const from = file.endsWith('.asc') ? Math.floor(bytes.length * 0.55) : 0
        const to = file.endsWith('.asc') ? Math.floor(bytes.length * 0.75) : bytes.length - 2
        const at = from + Math.floor(((to - from) * part) / 3)
        const changed = Buffer.from(bytes)
        changed[at] = (changed[at] ?? 0) ^ 1
        writeFileSync(path, changed)
        // What is no signature is found without one.
        expect(await look(file.startsWith('signatures/')), `${file} at ${at}`).toBe('DAMAGED')
      }
      rmSync(path)
      // The events need not travel, and a signature that is missing is open.
      const isFree = file === 'events.jsonl' || file.startsWith('signatures/')
      expect(await look(), file).toBe(isFree ? 'FINDINGS' : 'DAMAGED')
      writeFileSync(path, bytes)
    }
    writeFileSync(join(folder, 'artefacts/more.json'), '{}')
    expect(verify().error?.message).toContain('the record does not name it')
    rmSync(join(folder, 'artefacts/more.json'))
    expect(verify().exit).toBe(3)
  })

  it('C36 names what was changed: an event, the list of deviations, a digest in words, the plan', async () => {
    const made = record()
    const [first, ...rest] = made.events
    if (first === undefined) throw new Error('there are events')
    const changes: readonly (readonly [string, Partial<typeof made>])[] = [
      ['events', { events: [{ ...first, text: 'something else' }, ...rest] }],
      ['events', { events: made.events.slice(0, -1) }],
      ['events', { deviations: [] }],
      ['plan', { plan: digestOf(Buffer.from('another plan')) }],
      [
        `artefact ${made.artefacts[0]?.path}`,
        { artefacts: made.artefacts.map((one) => ({ ...one, words: 'topmost' })) },
      ],
    ]
    const files = ['record.json', 'record.md'].map((name) => join(folder, name))
    const before = files.map((file) => readFileSync(file))
    for (const [name, change] of changes) {
      const bytes = encodeRecord({ ...made, ...change })
      writeFileSync(files[0] ?? '', bytes)
      writeFileSync(files[1] ?? '', renderRecord(parseRecord(bytes), digestOf(bytes)))
      const { checks } = await verifyRecord(ceremonyFolder(folder))
      expect(checks.filter(({ state }) => state === 'wrong').map((check) => check.name)).toContain(name)
    }
    files.forEach((file, at) => writeFileSync(file, before[at] ?? ''))
  })

  it('C36 detects edits that were made with care: a changed text, here a share, with a chain that fits again', () => {
    const path = join(folder, 'record.json')
    const bytes = readFileSync(path)
    const made = record()
    const events: typeof made.events = []
    let head = made.plan.sha256
    for (const event of made.events) {
      const text = event.kind === 'deviation' ? vectorText(1) : event.text
      events.push({ ...event, text, prev: head })
      head = hashOfEvent(events.at(-1) ?? event)
    }
    const forgedBytes = encodeRecord({ ...made, events, head })
    writeFileSync(path, forgedBytes)
    writeFileSync(join(folder, 'record.md'), renderRecord(parseRecord(forgedBytes), digestOf(forgedBytes)))
    rmSync(join(folder, 'events.jsonl'))
    const { exit, data } = verify()
    expect(exit).toBe(5)
    expect(data.checks.filter(({ state }) => state === 'wrong').map(({ name }) => name)).toEqual([
      'secrets',
      'signature of the audit key',
      'signature of custodian-1',
      'signature of custodian-2',
      'signature of custodian-3',
      'signature of witness',
    ])
    writeFileSync(path, bytes)
  })
})
