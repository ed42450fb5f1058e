import { spawnSync } from 'node:child_process'
import { truncateSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { AuditVerdict } from '../../src/audit/verify-audit.ts'
import { formatHead, verifyAudit } from '../../src/audit/verify-audit.ts'
import type { Head } from '../../src/audit/entry.ts'
import { emptyHead } from '../../src/audit/entry.ts'
import { at, buildLog, draftOf, joinLines, makeAuditHome, newSigner, stamp, tornLog } from './audit-home.ts'
import { makeLine } from '../../src/audit/entry.ts'

const signer = newSigner()
const publicKeys = [signer.publicKey]

async function check(bytes: Uint8Array, expectedHead?: string): Promise<AuditVerdict> {
  return await verifyAudit(bytes, { publicKeys, ...(expectedHead === undefined ? {} : { expectedHead }) })
}

const codes = (verdict: AuditVerdict): string[] => verdict.problems.map(({ code }) => code)
const places = (verdict: AuditVerdict): string[] =>
  verdict.problems.map(({ line, seq, code }) => `${line} ${seq} ${code}`)

describe('a whole log', () => {
  test('verifies, and gives its head, its entries and its keys', async () => {
    const { bytes, head } = buildLog(signer, 30)
    const verdict = await check(bytes, formatHead(head))
    expect(verdict).toEqual({
      entries: 30,
      head,
      problems: [],
      problemCount: 0,
      warnings: [],
      documents: { checked: 0, named: 0 },
      keys: [
        {
          fingerprint: signer.publicKeyFingerprint,
          firstSeq: 1,
          entries: 30,
          trusted: true,
          endorsed: false,
        },
      ],
    })
  })

  test('verifies from an empty one on, and without its last newline', async () => {
    expect((await check(Buffer.alloc(0))).problems).toEqual([])
    const { bytes, head } = buildLog(signer, 3)
    const verdict = await check(bytes.subarray(0, -1), formatHead(head))
    expect(verdict).toMatchObject({ entries: 3, problems: [], warnings: [] })
  })

  test('holds the head of every earlier time, alone or with its number, and no other', async () => {
    const { bytes } = buildLog(signer, 5)
    for (let count = 0; count <= 5; count += 1) {
      const { head } = count === 0 ? { head: emptyHead } : buildLog(signer, count)
      expect((await check(bytes, formatHead(head))).problems).toEqual([])
      if (count > 0) expect((await check(bytes, head.head.toUpperCase())).problems).toEqual([])
      expect(codes(await check(bytes, `${head.seq + 1}:${head.head}`))).toEqual(['HEAD_NOT_FOUND'])
    }
    await expect(check(bytes, 'abc')).rejects.toMatchObject({ code: 'USAGE' })
  })

  test('tells of a clock that was set back, without calling the log broken', async () => {
    const times = ['2026-01-02T00:00:00Z', '2026-01-01T00:00:00Z', '2026-01-03T00:00:00Z']
    let head = emptyHead
    const lines = times.map((time) => {
      const made = makeLine(head, { signer, at: time, actor: stamp.actor }, draftOf(1))
      head = made.head
      return made.line
    })
    const verdict = await check(joinLines(lines), formatHead(head))
    expect(verdict.problems).toEqual([])
    expect(verdict.warnings).toMatchObject([{ code: 'CLOCK_SET_BACK' }])
  })
})

describe('a changed log', () => {
  test('is located without blaming the lines around it', async () => {
    const { lines } = buildLog(signer, 30)
    const changed = Buffer.from(String(lines[9]).replace('tester', 'taster'))
    expect(places(await check(joinLines(lines.with(9, changed))))).toEqual(['10 10 BAD_SIGNATURE'])
  })

  test('is noticed for each entry that is dropped, and says which', async () => {
    const { lines, head } = buildLog(signer, 30)
    for (let index = 0; index < 29; index += 1) {
      const verdict = await check(joinLines(lines.toSpliced(index, 1)))
      expect(places(verdict)).toEqual([`${index + 1} ${index + 2} ENTRIES_MISSING`])
      expect(verdict.problems[0]?.message).toBe(`entry ${index + 1} is missing before this line`)
      expect(verdict.head).toEqual(head)
    }
    const { problems } = await check(joinLines(lines.toSpliced(3, 5)))
    expect(problems).toMatchObject([{ line: 4, message: 'entries 4 to 8 are missing before this line' }])
  })

  test('is noticed for each pair of neighbours that is exchanged', async () => {
    const { lines } = buildLog(signer, 30)
    for (let index = 0; index < 29; index += 1) {
      const [one, other] = lines.slice(index, index + 2)
      const exchanged = lines.toSpliced(index, 2, other ?? Buffer.alloc(0), one ?? Buffer.alloc(0))
      expect(places(await check(joinLines(exchanged)))).toEqual([
        `${index + 1} ${index + 2} ENTRIES_MISSING`,
        `${index + 2} ${index + 1} OUT_OF_ORDER`,
      ])
    }
  })

  test('is noticed for each entry that stands twice', async () => {
    const { lines } = buildLog(signer, 30)
    for (const [index, line] of lines.entries()) {
      for (const place of [index + 1, 30]) {
        const verdict = await check(joinLines(lines.toSpliced(place, 0, line)))
        expect(places(verdict)).toEqual([`${place + 1} ${index + 1} OUT_OF_ORDER`])
      }
    }
  })

  test('is noticed for a line that is put in, whatever it is', async () => {
    const { lines, head } = buildLog(signer, 30)
    const foreign = buildLog(newSigner(), 12).lines[11] ?? Buffer.alloc(0)
    const fork = makeLine(
      { seq: 11, head: 'a'.repeat(64) },
      { signer, at, actor: stamp.actor },
      draftOf(1),
    ).line
    for (const [inserted, code] of [
      [foreign, 'UNKNOWN_KEY'],
      [Buffer.from('{}'), 'NOT_AN_ENTRY'],
      [Buffer.from(''), 'NOT_AN_ENTRY'],
      [Buffer.from('{"torn'), 'NOT_AN_ENTRY'],
      [Buffer.alloc(5_000_000, 0x41), 'NOT_AN_ENTRY'],
    ] as const) {
      const verdict = await check(joinLines(lines.toSpliced(11, 0, inserted)), formatHead(head))
      expect(places(verdict)).toEqual([`12 12 ${code}`])
    }
    // A fork that the key itself signed: the writer never makes one, two copies of a home do.
    expect(places(await check(joinLines(lines.toSpliced(11, 19, fork))))).toEqual(['12 12 CHAIN_BROKEN'])
  })

  test('is noticed when a noted torn line is taken away, or another is put in its place', async () => {
    const { lines, tornLine } = tornLog(signer)
    const without = await check(joinLines(lines.toSpliced(tornLine - 1, 1)))
    expect(places(without)).toEqual(['15 15 TORN_BYTES_DIFFER'])
    const replaced = await check(joinLines(lines.with(tornLine - 1, Buffer.from('{"action":"other'))))
    expect(places(replaced)).toEqual(['15 15 TORN_BYTES_DIFFER'])
  })

  test('is noticed when another spelling of the same JSON stands there', async () => {
    const { lines } = buildLog(signer, 3)
    const [first = Buffer.alloc(0)] = lines
    const spellings = [
      String(first).replace('{', '{ '),
      String(first).replace('"seq":1', '"seq":1.0'),
      String(first).replace('tester', '\\u0074ester'),
      String(first).replace('{"action"', '{"actor":"somebody else","action"'),
      `\ufeff${String(first)}`,
      `${String(first)}\r`,
    ]
    for (const spelling of spellings) {
      expect(places(await check(joinLines(lines.with(0, Buffer.from(spelling)))))).toEqual([
        '1 1 NOT_AN_ENTRY',
      ])
    }
  })
})

describe('a log whose end is cut off', () => {
  test('is noticed against a head that was kept, at every length', async () => {
    const { lines, head } = buildLog(signer, 30)
    for (let count = 0; count < 30; count += 1) {
      const cut = joinLines(lines.slice(0, count))
      const { problems } = await check(cut, formatHead(head))
      expect(problems).toMatchObject([{ line: count + 1, seq: 30, code: 'HEAD_NOT_FOUND' }])
      expect(problems[0]?.message).toContain(`the log ends at entry ${count}, but entry 30 was there`)
      expect(codes(await check(cut, head.head))).toEqual(['HEAD_NOT_FOUND'])
    }
  })

  test('is not claimed to be noticed without one, and the verdict says so', async () => {
    const { lines } = buildLog(signer, 30)
    const verdict = await check(joinLines(lines.slice(0, 20)))
    expect(verdict.problems).toEqual([])
    expect(verdict.warnings).toMatchObject([{ code: 'TAIL_UNPROVEN' }])
    expect(verdict.warnings[0]?.message).toContain('can’t be noticed')
  })

  test('in the middle of a line is a torn line, not a broken log; with a head it is noticed', async () => {
    const { bytes, lines, head } = buildLog(signer, 30)
    const last = lines[29]?.length ?? 0
    for (let cut = 2; cut <= last; cut += 1) {
      const verdict = await check(bytes.subarray(0, -cut))
      expect(verdict.problems).toEqual([])
      expect(verdict.warnings).toMatchObject([{ code: 'TORN_LAST_LINE' }, { code: 'TAIL_UNPROVEN' }])
      expect(codes(await check(bytes.subarray(0, -cut), formatHead(head)))).toEqual(['HEAD_NOT_FOUND'])
    }
  })
})

describe('the directory of a log', () => {
  test('verifies by its own audit.pub', async () => {
    const home = await makeAuditHome()
    const built = buildLog(home.signer, 30)
    home.setLog(built.bytes)
    expect(await verifyAudit(home.directory, { expectedHead: built.head })).toMatchObject({
      entries: 30,
      problems: [],
    })
    home.setLog(buildLog(newSigner(), 2).bytes)
    expect(codes(await verifyAudit(home.directory))).toEqual(['UNKNOWN_KEY', 'UNKNOWN_KEY'])
  })

  test('without a log, or without a public key, is a problem and no clean bill', async () => {
    const home = await makeAuditHome()
    expect(codes(await verifyAudit(home.directory))).toEqual(['LOG_MISSING'])
    expect(codes(await verifyAudit(buildLog(signer, 1).bytes))).toEqual(['NO_PUBLIC_KEY', 'UNKNOWN_KEY'])
  })

  test('with 50,000 entries verifies and reads in flat memory', async () => {
    const home = await makeAuditHome()
    const small = buildLog(home.signer, 1_000)
    home.setLog(small.bytes)
    const before = runVerifyWorker(home.directory, small.head)
    const large = buildLog(home.signer, 50_000)
    home.setLog(large.bytes)
    const after = runVerifyWorker(home.directory, large.head)
    expect(after).toMatchObject({ entries: 50_000, problems: 0 })
    expect(after.peakKiB - before.peakKiB).toBeLessThan(48 * 1024)
  }, 300_000)

  test('with a line of 512 MiB is a problem, and takes no memory for it', async () => {
    const home = await makeAuditHome()
    const { bytes, head } = buildLog(home.signer, 20)
    home.setLog(bytes)
    const before = runVerifyWorker(home.directory, head)
    truncateSync(join(home.directory, 'log.jsonl'), 512 * 1024 * 1024)
    const after = runVerifyWorker(home.directory, head)
    expect(after).toMatchObject({ entries: 20, problems: 1 })
    expect(after.peakKiB - before.peakKiB).toBeLessThan(48 * 1024)
  })
})

type Measured = { readonly entries: number; readonly problems: number; readonly peakKiB: number }

function runVerifyWorker(directory: string, head: Head): Measured {
  const worker = join(import.meta.dirname, 'verify-worker.ts')
  const args = ['--max-old-space-size=48', worker, directory, formatHead(head)]
  const run = spawnSync(process.execPath, args, { encoding: 'utf8' })
  expect(run.stderr).toBe('')
  return JSON.parse(run.stdout) as Measured
}
