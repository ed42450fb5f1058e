import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { verifyEvidence } from '../../src/audit/verify-evidence.ts'
import { parsePublicKeysPem } from '../../src/core/signature.ts'
import { plainTwoLevels } from '../support/application.ts'
import { kvxJson, type KvxDocument } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'
import { needsTool } from '../support/needs.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

const gpg = new GpgHome()
const recipient = gpg.makeKey('operator@example.org')
const open: { close(): void }[] = [{ close: () => gpg.remove() }]
afterAll(() => open.forEach((one) => one.close()))

type Verdict = {
  entries: number
  head: string
  problemCount: number
  problems: { line: number; seq: number; code: string; message: string; document?: string }[]
  documents: { checked: number; named: number }
}

/** A home with two reports and a certificate. */
let home: Workspace
/** What an auditor has: the export and the public key, in a folder without home and configuration. */
let desk: string
let exported: Buffer

beforeAll(() => {
  home = makeWorkspace({ shape: plainTwoLevels, rows: 6, gpg, recipients: [recipient] }).begin()
  open.push(home)
  home.ok('rotate', 'master', '--offline', '--then', 'data', '--yes')
  home.ok('retire', 'master@1', '--confirm', 'master@1')
  home.ok('rotate', 'master', '--offline', '--then', 'data', '--yes')
  home.ok('audit', 'export', '--out', 'evidence.jsonl')
  desk = home.file('desk')
  mkdirSync(desk)
  copyFileSync(home.file('.kvx/audit/audit.pub'), join(desk, 'audit.pub'))
  exported = readFileSync(home.file('evidence.jsonl'))
})

function verify(file: string, ...flags: string[]): KvxDocument<Verdict> {
  return kvxJson<Verdict>(['audit', 'verify', file, '--public-key', 'audit.pub', ...flags], { cwd: desk })
}

function verifyBytes(bytes: Buffer | string): Verdict {
  writeFileSync(join(desk, 'changed.jsonl'), bytes)
  const { exit, data } = verify('changed.jsonl')
  expect([exit, data.problemCount > 0]).toEqual([5, true])
  return data
}

function lines(): string[] {
  return exported.toString().trimEnd().split('\n')
}

const joined = (all: readonly string[]): string => `${all.join('\n')}\n`

describe('kvx audit verify', () => {
  test('holds the log, the reports and the certificates of a home against one another', () => {
    const { data } = home.ok<Verdict>('audit', 'verify')
    expect(data).toMatchObject({ problemCount: 0, documents: { checked: 3, named: 3 } })
  })

  test('verifies an export elsewhere, with the public key alone', () => {
    writeFileSync(join(desk, 'evidence.jsonl'), exported)
    const { exit, data } = verify('evidence.jsonl')
    expect(exit).toBe(0)
    expect(data).toMatchObject({ documents: { checked: 3, named: 3 } })
    expect(data.entries).toBe(lines().filter((line) => !line.startsWith('{"document"')).length)
  })

  test('takes a copy of the home, of the log, and a single report', () => {
    cpSync(home.file('.kvx'), join(desk, 'copy'), { recursive: true })
    expect(verify('copy').data.documents.checked).toBe(3)
    const log = verify('copy/audit/log.jsonl')
    expect([log.exit, log.data.documents]).toEqual([0, { checked: 0, named: 3 }])
    expect(log.warnings.map(({ code }) => code)).toContain('DOCUMENTS_ABSENT')
    const [run = ''] = readdirSync(join(desk, 'copy/runs'))
    const report = join(desk, 'copy/runs', run, 'report.json')
    expect(verify(report).exit).toBe(0)
    writeFileSync(report, readFileSync(report, 'utf8').replace('"changed": 6', '"changed": 7'))
    expect(verify(report).data.problems[0]?.code).toBe('DOCUMENT_CHANGED')
  })

  test('does not trust a key that lies beside the log, nor one of another home', () => {
    writeFileSync(join(desk, 'evidence.jsonl'), exported)
    const without = kvxJson(['audit', 'verify', 'evidence.jsonl'], { cwd: desk })
    expect([without.exit, without.error?.code]).toEqual([2, 'USAGE'])
    const other = makeWorkspace({ shape: plainTwoLevels, rows: 0 })
    open.push(other)
    other.ok('init')
    copyFileSync(other.file('.kvx/audit/audit.pub'), join(desk, 'other.pub'))
    const args = ['audit', 'verify', 'evidence.jsonl', '--public-key', 'other.pub']
    const { exit, data } = kvxJson<Verdict>(args, { cwd: desk })
    const codes = new Set(data.problems.map(({ code }) => code))
    expect([exit, codes.has('UNKNOWN_KEY'), codes.has('DOCUMENT_FOREIGN')]).toEqual([5, true, true])
  })

  test('locates an entry that was dropped, moved, or put in twice', () => {
    const all = lines()
    const dropped = verifyBytes(joined(all.toSpliced(3, 1)))
    expect(dropped.problems[0]).toMatchObject({ code: 'ENTRIES_MISSING', line: 4, seq: 5 })
    const [third = '', fourth = ''] = all.slice(2, 4)
    const moved = verifyBytes(joined(all.toSpliced(2, 2, fourth, third)))
    expect(moved.problems.some(({ line, code }) => line === 4 && code === 'OUT_OF_ORDER')).toBe(true)
    const twice = verifyBytes(joined(all.toSpliced(3, 0, third)))
    expect(twice.problems[0]).toMatchObject({ code: 'OUT_OF_ORDER', line: 4, seq: 3 })
  })

  test('names a report that was taken away, and an end of the log that was cut off', () => {
    const all = lines()
    const report = all.findIndex((line) => line.includes('"document":"runs/'))
    const { document: path } = JSON.parse(all[report] ?? '') as { document: string }
    const gone = verifyBytes(joined(all.toSpliced(report, 1)))
    expect(gone.problems).toMatchObject([{ code: 'DOCUMENT_MISSING', document: path }])
    // No head was kept elsewhere; the reports themselves say how far the log went.
    const entries = all.filter((line) => !line.startsWith('{"document"'))
    const documents = all.slice(entries.length)
    const cut = verifyBytes(joined([...entries.slice(0, -4), ...documents]))
    expect(cut.problems.map(({ code }) => code)).toContain('DOCUMENT_UNCHAINED')
  })

  test('finds a change of any byte of an export', async () => {
    const keys = parsePublicKeysPem(readFileSync(join(desk, 'audit.pub'), 'latin1'))
    const file = join(desk, 'byte.jsonl')
    const unnoticed: number[] = []
    // Every byte is too slow for entries and documents together: a stride that meets each kind of place.
    for (let at = 0; at < exported.length; at += 97) {
      const bytes = Buffer.from(exported)
      bytes[at] = (bytes[at] ?? 0) ^ 0x01
      writeFileSync(file, bytes)
      const { problemCount } = await verifyEvidence(file, { publicKeys: keys })
      if (problemCount === 0) unnoticed.push(at)
    }
    expect(unnoticed).toEqual([])
  })
})

describe('kvx audit export', () => {
  test('gives out the log byte for byte, into a pipe too', () => {
    const log = readFileSync(home.file('.kvx/audit/log.jsonl'))
    expect(exported.subarray(0, log.length)).toEqual(log)
    expect(home.run('audit', 'export').stdout).toBe(exported.toString())
    expect(home.json('audit', 'export').error?.code).toBe('USAGE')
    expect(home.json('audit', 'export', '--out', 'evidence.jsonl').error?.code).toBe('TARGET_EXISTS')
  })

  test('tells people by phases and numbers, and no key', () => {
    const { stdout } = home.run('audit', 'export', '--format', 'markdown')
    const titles = [...stdout.matchAll(/^## (.*)$/gm)].map(([, title]) => title)
    expect(titles).toEqual([
      'Inventory',
      'Pre-operational phase: made, backed up, handed out',
      'Operational phase: in use',
      'Post-operational phase: opens only, suspended, compromised',
      'Destroyed phase: the material is gone',
      'Beside the numbers of PCI DSS 3.6 and 3.7',
      'Approvals and exceptions',
      'What the log counts',
    ])
    expect(stdout).toMatch(/\| master@1 \| kek \| deactivated, retired \|/)
    for (const number of ['3.6.1.4', '3.7.1', '3.7.6', '3.7.9']) expect(stdout).toContain(`| ${number} |`)
    for (const key of [home.firstKey.bytes, home.publishedKey()]) {
      for (const form of ['hex', 'base64', 'base64url'] as const)
        expect(stdout).not.toContain(key?.toString(form))
    }
  })

  test('draws the same as PDF', (context) => {
    needsTool(context, 'pdftotext')
    home.ok('audit', 'export', '--format', 'pdf', '--out', 'report.pdf')
    const text = execFileSync('pdftotext', ['-layout', home.file('report.pdf'), '-'], { encoding: 'utf8' })
    for (const words of ['Key management report', 'Destroyed phase', '3.7.6', 'deactivated, retired'])
      expect(text).toContain(words)
    expect(home.json('audit', 'export', '--format', 'pdf').error?.code).toBe('USAGE')
  })
})

// Last: it changes the home that the others look at.
describe('a report', () => {
  test('that was replaced by an earlier one of the same run, or removed, is noticed', () => {
    const [run] = home.ok<{ runs: { id: string }[] }>('run', 'list').data.runs
    const report = home.file('.kvx/runs', run?.id ?? '', 'report.json')
    const earlier = readFileSync(report)
    home.ok('run', 'rollback', run?.id ?? '', '--yes')
    home.ok('audit', 'verify')
    writeFileSync(report, earlier)
    const { exit, data } = home.json<Verdict>('audit', 'verify')
    expect([exit, data.problems[0]?.code]).toEqual([5, 'DOCUMENT_CHANGED'])
    rmSync(report)
    expect(home.json<Verdict>('audit', 'verify').data.problems[0]?.code).toBe('DOCUMENT_MISSING')
  })
})
