import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { verifyDocument } from '../../src/audit/signed-document.ts'
import { splitShareTexts } from '../../src/core/share/share-lines.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { Journal } from '../../src/migration/journal.ts'
import { takeStatus } from '../../src/migration/status.ts'
import { plainTwoLevels } from '../support/application.ts'
import { kvx, type KvxDocument } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

/** Five people with OpenPGP keys of their own, and one who comes later. */
const people = ['A. Boole', 'C. Dirac', 'E. Fermi', 'G. Hopper', 'J. Kepler', 'L. Meitner'] as const
const machines = people.map(() => new GpgHome())
const office = new GpgHome()
const fingerprints: string[] = []
let workspace: Workspace

type Set = {
  set: string
  state: string
  manifest: string
  supersedes: readonly string[]
  shares: readonly { index: number; custodian: string; file: string; confirmed: boolean }[]
}

beforeAll(() => {
  people.forEach((name, at) => {
    const machine = machines[at] ?? office
    fingerprints.push(machine.makeKey(`${name} <${at}@example.org>`))
    office.import(machine.exportPublic(fingerprints[at] ?? ''))
  })
  workspace = makeWorkspace({ shape: plainTwoLevels, rows: 12, gpg: office }).begin()
})

afterAll(() => {
  for (const gpg of [...machines, office]) gpg.remove()
  rmSync(workspace.path, { recursive: true, force: true })
})

function custodian(at: number): readonly string[] {
  return ['--custodian', `${people[at] ?? ''}=${fingerprints[at] ?? ''}`]
}

/** What the person reads out of an encrypted file with gpg alone. */
function letter(file: string, at: number): Buffer {
  return machines[at]?.decrypt(readFileSync(file)) ?? Buffer.alloc(0)
}

function textIn(file: string, at: number): string {
  const [text = new Uint8Array(0)] = splitShareTexts(letter(file, at))
  return Buffer.from(text).toString()
}

function withInput<T>(args: readonly string[], input: string | Buffer): KvxDocument<T> {
  const { stdout, stderr } = kvx([...args, '--json'], { cwd: workspace.path, env: workspace.env, input })
  if (!stdout.startsWith('{')) throw new Error(`no document: ${stdout}${stderr}`)
  return JSON.parse(stdout) as KvxDocument<T>
}

function list(): readonly Set[] {
  return workspace.ok<{ shareSets: readonly Set[] }>('backup', 'list').data.shareSets
}

function stateOf(set: string): string | undefined {
  return list().find((one) => one.set === set)?.state
}

function textOfPerson({ shares }: Set, at: number): string {
  return textIn(shares.find(({ custodian }) => custodian === people[at])?.file ?? '', at)
}

type Drill = {
  started: string
  nextDue: string
  report: string
  participants: readonly { index: number; who: string }[]
}

function drills(): { readonly lastDrill: string | null; readonly drillDue: string | null } {
  const [key] = workspace.ok<{ keys: readonly { lastDrill: string | null; drillDue: string | null }[] }>(
    'status',
  ).data.keys
  return { lastDrill: key?.lastDrill ?? null, drillDue: key?.drillDue ?? null }
}

/** What `status` would say so many days from now. */
async function dueIn(days: number): Promise<readonly string[]> {
  vi.setSystemTime(Date.now() + days * 86_400_000)
  const opened = await openWorkspace({ config: workspace.file('kvx.yaml') })
  const journal = Journal.open(opened.home, { look: true })
  try {
    const { due } = await takeStatus(opened, journal)
    return due.map(({ code }) => code).filter((code) => code !== 'RUN_OPEN')
  } finally {
    journal.close()
    vi.useRealTimers()
  }
}

/** Each custodian verifies alone and reads the receipt out. */
function confirmAll({ set, manifest, shares }: Set, holders: readonly number[]): string[] {
  return shares.map(({ index, file }, at) => {
    const verify = ['share', 'verify', '--share-fd', '0', '--manifest', manifest]
    const { receipt } = withInput<{ receipt: string }>(verify, letter(file, holders[at] ?? 0)).data
    const confirm = ['backup', 'confirm', set, '--index', String(index), '--receipt', receipt]
    if (at === 0) expect(workspace.ok<Set>(...confirm, '--dry-run').data.state).toBe('pending')
    return workspace.ok<Set>(...confirm).data.state
  })
}

describe('the life of a key among five custodians', () => {
  let first: Set
  let second: Set

  it('is split, and counts when all five confirmed', () => {
    const who = [0, 1, 2, 3, 4].flatMap(custodian)
    first = workspace.ok<Set>('backup', 'split', 'master', '--threshold', '3', ...who).data
    expect(confirmAll(first, [0, 1, 2, 3, 4])).toEqual(['pending', 'pending', 'pending', 'pending', 'active'])
  })

  it('C41 makes a lost share again byte for byte, for the same custodian alone', () => {
    const lost = first.shares[1]?.file ?? ''
    const before = textIn(lost, 1)
    rmSync(lost)
    const three = [2, 0, 4].map((at) => textIn(first.shares[at]?.file ?? '', at))
    const command = ['backup', 'recreate-share', first.set, '--index', '2', '--share-fd', '0']
    expect(withInput(command, three.slice(1).join('\n'))).toMatchObject({
      exit: 7,
      error: { code: 'SHARE_MISSING' },
    })
    const given = withInput(
      ['backup', 'recreate-share', 'master', '--index', '3', '--share-fd', '0'],
      three.join('\n'),
    )
    expect(given).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
    expect(given.error?.message).toContain('it is not lost')
    const { exit, data } = withInput<{ file: string; digest: string }>(command, three.join('\n'))
    expect(exit).toBe(0)
    expect(textIn(data.file, 1)).toBe(before)
    expect(() => machines[0]?.decrypt(readFileSync(data.file))).toThrow()
    const dealt = JSON.parse(readFileSync(first.manifest, 'utf8')) as { shares: { digest: string }[] }
    expect(data.digest).toBe(dealt.shares[1]?.digest)
    const verify = ['share', 'verify', '--share-fd', '0', '--manifest', first.manifest]
    expect(withInput(verify, letter(data.file, 1))).toMatchObject({
      exit: 0,
      data: { state: 'active', index: 2 },
    })
  })

  it('C40 keeps the key when a custodian is replaced; the old set counts until the new one is active', () => {
    const who = [0, 1, 5, 3, 4].flatMap(custodian)
    const planned = workspace.ok<Set>('backup', 'reshare', 'master', ...who, '--dry-run').data
    expect(planned).toMatchObject({ set: null, supersedes: [first.set] })
    second = workspace.ok<Set>('backup', 'reshare', 'master', ...who).data
    expect(second).toMatchObject({ state: 'pending', supersedes: [first.set], threshold: 3, of: 5 })
    expect(stateOf(first.set)).toBe('active')
    const [before, after] = [first, second].map(
      ({ manifest }) => JSON.parse(readFileSync(manifest, 'utf8')) as { fingerprint: string },
    )
    expect(after?.fingerprint).toBe(before?.fingerprint)
    expect(confirmAll(second, [0, 1, 5, 3, 4]).at(-1)).toBe('active')
    expect(stateOf(first.set)).toBe('superseded')
    const verify = ['share', 'verify', '--share-fd', '0', '--manifest', first.manifest]
    expect(withInput(verify, letter(first.shares[2]?.file ?? '', 2))).toMatchObject({
      exit: 3,
      data: { state: 'superseded' },
    })
    const lost = workspace.json('backup', 'recreate-share', first.set, '--index', '1', '--share-fd', '0')
    expect(lost).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
  })

  it('C40 deals anew from a quorum of the old shares where the key file is gone, and says who is missing', () => {
    const keyFile = workspace.file('.kvx/keys/master.v1.key')
    const key = readFileSync(keyFile)
    rmSync(keyFile)
    const who = [0, 1, 5].flatMap(custodian)
    const command = ['backup', 'reshare', second.set, '--threshold', '2', ...who]
    expect(workspace.json(...command).error?.code).toBe('KEYRING_DAMAGED')
    const three = [0, 5, 4].map((at) => textOfPerson(second, at))
    const few = withInput([...command, '--from', 'shares', '--share-fd', '0'], three.slice(1).join('\n'))
    expect(few.error?.message).toContain('need 1 more')
    const { data, exit } = withInput<Set>(
      [...command, '--from', 'shares', '--share-fd', '0'],
      three.join('\n'),
    )
    expect(exit).toBe(0)
    expect(data).toMatchObject({ state: 'pending', supersedes: [second.set], threshold: 2, of: 3 })
    writeFileSync(keyFile, key, { mode: 0o600 })
    const two = data.shares.slice(0, 2).map(({ file }, at) => textIn(file, at))
    const out = join(workspace.path, 'two.key')
    expect(
      withInput(['restore', '--from', 'shares', '--share-fd', '0', '--out', out], two.join('\n')).exit,
    ).toBe(0)
    expect(readFileSync(out)).toEqual(key)
  })

  it('C23 is drilled: the key comes back in memory alone, changes no file but the report, and is due in a year', () => {
    const before = (name: string): string => readFileSync(workspace.file('.kvx', name)).toString('base64')
    const kept = ['keyring.json', 'keys/master.v1.key'].map(before)
    const texts = [0, 5, 4].map((at) => textOfPerson(second, at))
    const drill = ['backup', 'drill', 'master', '--share-fd', '0']
    const few = withInput(drill, texts.slice(1).join('\n'))
    expect(few).toMatchObject({ exit: 7, error: { code: 'SHARE_MISSING' } })
    const foreign = withInput(drill, [...texts.slice(1), textOfPerson(first, 0)].join('\n'))
    expect(foreign).toMatchObject({ exit: 5, data: { reason: 'set' } })
    expect(drills()).toMatchObject({ lastDrill: null })
    const { exit, data, warnings } = withInput<Drill>(drill, texts.join('\n'))
    expect({ exit, warnings }).toEqual({ exit: 0, warnings: [] })
    const expected = { name: 'master', version: 1, source: 'shares', from: second.set, opened: 'canary' }
    expect(data).toMatchObject(expected)
    expect(data.participants.map(({ who }) => who)).toEqual(['A. Boole', 'L. Meitner', 'J. Kepler'])
    expect(['keyring.json', 'keys/master.v1.key'].map(before)).toEqual(kept)
    const report = readFileSync(data.report, 'utf8')
    expect(verifyDocument(JSON.parse(report)).document).toMatchObject({
      ...expected,
      schema: 'kvx.drill-report/1',
    })
    expect(drills()).toEqual({ lastDrill: data.started, drillDue: data.nextDue })
    expect(Date.parse(data.nextDue) - Date.parse(data.started)).toBeGreaterThan(364 * 86_400_000)
    const key = readFileSync(workspace.file('.kvx/keys/master.v1.key'))
    const secrets = [key.toString('hex'), key.toString('base64'), ...texts.map((one) => one.slice(30, 60))]
    for (const secret of secrets) expect(JSON.stringify(data) + report).not.toContain(secret)
  })

  it('is drilled with an OpenPGP backup too, where its private key is', () => {
    const recipient = ['--recipient', fingerprints[0] ?? '']
    const made = workspace.ok<{ id: string; file: string }>('backup', 'create', 'master', ...recipient).data
    const drill = ['backup', 'drill', 'master', '--gpg']
    expect(workspace.json(...drill, made.id)).toMatchObject({ exit: 5 }) // the private key is elsewhere
    const env = { ...workspace.env, GNUPGHOME: machines[0]?.path ?? '' }
    for (const name of [made.id.toLowerCase(), made.file]) {
      const { stdout } = kvx([...drill, name, '--json'], { cwd: workspace.path, env })
      expect(JSON.parse(stdout)).toMatchObject({ exit: 0, data: { source: 'gpg', opened: 'canary' } })
    }
  })

  it('counts no report of a drill that somebody changed', () => {
    const folder = workspace.file('.kvx/backups/drills')
    const reports = readdirSync(folder).map((name) => join(folder, name))
    const texts = reports.map((path) => readFileSync(path, 'utf8'))
    const { lastDrill } = drills()
    expect(lastDrill).toMatch(/^20/)
    reports.forEach((path, at) =>
      writeFileSync(path, (texts[at] ?? '').replace(/"nextDue": "20/, '"nextDue": "30')),
    )
    expect(drills().lastDrill).toBe(null)
    const { exit, data } = workspace.json<{ problems: { code: string; document: string }[] }>(
      'audit',
      'verify',
    )
    expect(exit).not.toBe(0)
    expect(data.problems.map(({ code, document }) => `${code} ${document}`)).toEqual(
      reports.map((path) => `DOCUMENT_CHANGED backups/drills/${basename(path)}`),
    )
    reports.forEach((path, at) => writeFileSync(path, texts[at] ?? ''))
    expect(drills().lastDrill).toBe(lastDrill)
    workspace.ok('audit', 'verify')
  })

  it('counts no report of a drill that the log does not name, though this home signed it', () => {
    const folder = workspace.file('.kvx/backups/drills')
    const reports = readdirSync(folder).map((name) => join(folder, name))
    const { lastDrill } = drills()
    reports.forEach((path) => renameSync(path, path.replace('.json', '0.json')))
    expect(drills().lastDrill).toBe(null)
    const { exit, data } = workspace.json<{ problems: { code: string }[] }>('audit', 'verify')
    expect(exit).not.toBe(0)
    expect(new Set(data.problems.map(({ code }) => code))).toEqual(new Set(['DOCUMENT_MISSING']))
    reports.forEach((path) => renameSync(path.replace('.json', '0.json'), path))
    expect(drills().lastDrill).toBe(lastDrill)
  })

  it('reminds of a drill after a year, of custodians after two weeks, and of shares that still open the key', async () => {
    expect(await dueIn(0)).toEqual(['SHARES_OUTSTANDING'])
    expect(await dueIn(15)).toEqual(['SHARES_OUTSTANDING', 'SET_PENDING'])
    expect(await dueIn(366)).toContain('DRILL_DUE')
    expect(workspace.json('status', '--due').exit).toBe(3)
  })

  it('trains with a key that is thrown away, and asks nobody where nobody is there', () => {
    const trained = withInput(['backup', 'drill', 'master', '--dry-run'], '')
    expect(trained).toMatchObject({ exit: 0, data: { training: true, report: null } })
  })

  it('closes a superseded set when every share of it is said to be destroyed, and no other set', () => {
    const active = workspace.json('backup', 'confirm', second.set, '--destroyed', '1')
    expect(active).toMatchObject({ exit: 2, error: { code: 'STATE_TRANSITION' } })
    const unknown = workspace.json('backup', 'confirm', first.set, '--destroyed', '1,6')
    expect(unknown).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
    expect(workspace.ok<Set>('backup', 'confirm', first.set, '--destroyed', '1,3').data.state).toBe(
      'superseded',
    )
    expect(workspace.run('backup', 'list').stdout).toContain('superseded (3 of 5 not destroyed)')
    expect(workspace.ok<Set>('backup', 'confirm', first.set, '--destroyed', '2,3,4,5').data.state).toBe(
      'closed',
    )
    workspace.ok('audit', 'verify')
  })

  it('comes back from three shares after the home is lost, and the application reads on', () => {
    const copy = workspace.file('home.json')
    workspace.ok('backup', 'home', '--out', copy)
    const anchor = workspace.ok<{ auditKeyFingerprint: string }>(
      'backup',
      'home',
      '--out',
      workspace.file('again.json'),
    ).data
    const three = [5, 1, 3].map((at) => textOfPerson(second, at))
    const key = workspace.publishedKey()
    rmSync(workspace.home, { recursive: true })
    rmSync(workspace.published)
    expect(workspace.read(workspace.publishedKey()).opened).toBe(0)
    const expected = ['--expect-fingerprint', anchor.auditKeyFingerprint]
    workspace.ok('restore', '--from', 'home', copy, ...expected, '--yes')
    const restore = ['restore', '--from', 'shares', '--share-fd', '0', '--confirm', 'master@1']
    const back = withInput(restore, three.join('\n'))
    expect(back, JSON.stringify(back.error)).toMatchObject({
      exit: 0,
      data: { name: 'master', version: 1, proven: true },
    })
    workspace.ok('key', 'publish', 'master', '--yes')
    expect(workspace.publishedKey()).toEqual(key)
    expect(workspace.read(workspace.publishedKey())).toMatchObject({ opened: 12, failed: 0 })
  })
})
