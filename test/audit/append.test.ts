import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { openAudit } from '../../src/audit/audit.ts'
import type { AuditEntry, EntryDraft, Facts } from '../../src/audit/entry.ts'
import { emptyHead } from '../../src/audit/entry.ts'
import { readAudit } from '../../src/audit/read-audit.ts'
import { formatHead, verifyAudit } from '../../src/audit/verify-audit.ts'
import { type AuditHome, at, buildLog, makeAuditHome, newSigner, stamp } from './audit-home.ts'

const note = (data: Facts = {}): EntryDraft => ({ action: 'test.note', phase: 'note', data })

const names = (count: number): Facts => ({ names: Array.from({ length: count }, () => 'n'.repeat(4000)) })

async function entriesOf(directory: string): Promise<AuditEntry[]> {
  return await Array.fromAsync(readAudit(directory))
}

async function expectWhole(home: AuditHome, entries: number): Promise<void> {
  const verdict = await verifyAudit(home.directory)
  expect(verdict).toMatchObject({ entries, problems: [] })
}

describe('append', () => {
  test('writes one canonical line with number, time, actor, chain and signature', async () => {
    const home = await makeAuditHome()
    const intent: EntryDraft = {
      action: 'key.rotate',
      phase: 'intent',
      run: 'r1',
      subject: 'master@2',
      data: { count: 3 },
    }
    const first = await home.audit.append(intent)
    const second = await home.audit.append({ action: 'key.rotate', phase: 'result', exit: 0 })
    const [line1 = '', line2 = '', rest] = home.log().toString('utf8').split('\n')
    expect(rest).toBe('')
    const entry1 = JSON.parse(line1) as AuditEntry
    expect(entry1).toEqual({
      ...intent,
      seq: 1,
      at,
      actor: stamp.actor,
      prev: '0'.repeat(64),
      key: home.signer.publicKeyFingerprint.slice(0, 16),
      sig: entry1.sig,
    })
    const sha256 = createHash('sha256').update(line1).digest('hex')
    expect(first).toEqual({ seq: 1, head: sha256 })
    expect(JSON.parse(line2)).toMatchObject({ seq: 2, prev: sha256, exit: 0, data: {} })
    expect(await home.audit.head()).toEqual({
      ...second,
      at,
      publicKeyFingerprint: home.signer.publicKeyFingerprint,
    })
    expect(statSync(join(home.directory, 'log.jsonl')).mode & 0o777).toBe(0o600)
    await expectWhole(home, 2)
  })

  test('starts from the empty head, and stamps with the clock and the person at the machine', async () => {
    const home = await makeAuditHome()
    const audit = openAudit(home.directory, { signer: home.signer })
    expect(await audit.head()).toMatchObject({ ...emptyHead, at: undefined })
    await audit.append(note())
    const [entry] = await entriesOf(home.directory)
    expect(entry?.at).toMatch(/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    expect(entry?.actor).toMatch(/\(uid \d+\) on /)
  })

  test('never changes a byte that is there already', async () => {
    const home = await makeAuditHome()
    let before: Buffer = Buffer.alloc(0)
    for (let seq = 1; seq <= 10; seq += 1) {
      await home.audit.append(note({ seq }))
      const after = home.log()
      expect(after.subarray(0, before.length).equals(before)).toBe(true)
      before = after
    }
  })

  test('keeps entries apart that are appended at once in one process', async () => {
    const home = await makeAuditHome()
    const heads = await Promise.all(
      Array.from({ length: 20 }, (_, index) => home.audit.append(note({ index }))),
    )
    expect(heads.map(({ seq }) => seq)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
    await expectWhole(home, 20)
  })

  test('of 8 processes with 25 entries each gives one chain of 200', async () => {
    const home = await makeAuditHome()
    const worker = join(import.meta.dirname, 'append-worker.ts')
    const run = promisify(execFile)
    const workers = Array.from({ length: 8 }, (_, index) => `process-${index + 1}`)
    await Promise.all(workers.map((name) => run(process.execPath, [worker, home.directory, name, '25'])))
    await expectWhole(home, 200)
    const entries = await entriesOf(home.directory)
    for (const name of workers) {
      const own = entries.filter(({ run }) => run === name).map(({ data }) => data['index'])
      expect(own).toEqual(Array.from({ length: 25 }, (_, index) => index + 1))
    }
  }, 120_000)

  test('reads the end of the log alone: it costs the same however long the log is', async () => {
    const home = await makeAuditHome()
    // 40 MB that are no log at all before the last entry: a reader of the whole would stumble over them.
    const built = buildLog(home.signer, 3)
    home.setLog(Buffer.concat([Buffer.alloc(40_000_000, 0x0a), built.bytes]))
    expect(await home.audit.append(note())).toMatchObject({ seq: 4 })
  })

  test('takes entries up to 16 KiB, reads them back, and refuses longer ones as a bug', async () => {
    const home = await makeAuditHome()
    for (let round = 0; round < 3; round += 1) await home.audit.append(note(names(3)))
    await expectWhole(home, 3)
    await expect(home.audit.append(note(names(5)))).rejects.toMatchObject({ code: 'BUG' })
    await expectWhole(home, 3)
  })
})

describe('a crash in the middle of an append', () => {
  test('at every byte leaves a torn line that the next append notes, and nothing is lost', async () => {
    const home = await makeAuditHome()
    const { bytes } = buildLog(home.signer, 3)
    const second = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1
    for (let cut = second + 1; cut < bytes.length - 1; cut += 1) {
      home.setLog(bytes.subarray(0, cut))
      expect(await home.audit.append(note())).toMatchObject({ seq: 4 })
      const torn = bytes.subarray(second, cut)
      const entries = await entriesOf(home.directory)
      expect(entries.map(({ seq }) => seq)).toEqual([1, 2, 3, 4])
      expect(entries[2]).toMatchObject({
        action: 'audit.recover',
        phase: 'note',
        data: { tornBytes: torn.length, tornSha256: createHash('sha256').update(torn).digest('hex') },
      })
      expect(home.log().subarray(0, cut).equals(bytes.subarray(0, cut))).toBe(true)
      await expectWhole(home, 4)
    }
  }, 300_000)

  test('in the first entry of all is recovered too', async () => {
    const home = await makeAuditHome()
    home.setLog(Buffer.from('{"action":"key.'))
    expect(await home.audit.append(note())).toMatchObject({ seq: 2 })
    await expectWhole(home, 2)
  })

  test('after the last byte but the newline has torn nothing', async () => {
    const home = await makeAuditHome()
    const { bytes } = buildLog(home.signer, 3)
    home.setLog(bytes.subarray(0, -1))
    expect(await home.audit.append(note())).toMatchObject({ seq: 4 })
    expect(home.log().subarray(0, bytes.length).equals(bytes)).toBe(true)
    await expectWhole(home, 4)
  })

  test('while a torn line was being noted is recovered again, wherever it was', async () => {
    const home = await makeAuditHome()
    const { bytes } = buildLog(home.signer, 2)
    home.setLog(bytes.subarray(0, -50))
    await home.audit.append(note())
    const recovered = home.log()
    const start = bytes.length - 50
    for (let cut = start + 1; cut < recovered.length; cut += cut < start + 3 ? 1 : 13) {
      home.setLog(recovered.subarray(0, cut))
      await home.audit.append(note())
      const verdict = await verifyAudit(home.directory)
      expect(verdict.problems, `cut at ${cut}`).toEqual([])
      expect(verdict.warnings[0]).toMatchObject({ code: 'TORN_LINE_NOTED' })
    }
  }, 120_000)

  test.each([
    ['as the end', Buffer.alloc(300)],
    [
      'before the end of the line',
      Buffer.concat([Buffer.alloc(200), Buffer.from('","subject":"master@2"}\n')]),
    ],
    ['after its beginning', Buffer.concat([Buffer.from('{"action":"key.rot'), Buffer.alloc(200)])],
  ])('that leaves a block of zeros %s is recovered', async (_, torn) => {
    const home = await makeAuditHome()
    home.setLog(Buffer.concat([buildLog(home.signer, 3).bytes, torn]))
    expect(await home.audit.append(note())).toMatchObject({ seq: 5 })
    await expectWhole(home, 5)
  })
})

describe('append refuses', () => {
  test('to go on behind a last line that was changed, and leaves every byte as it is', async () => {
    const home = await makeAuditHome()
    const { bytes } = buildLog(home.signer, 3)
    const changed = [
      Buffer.from(bytes.toString('latin1').replace(/tester(?=[^\n]*\n$)/, 'taster'), 'latin1'),
      Buffer.concat([bytes.subarray(0, -1), Buffer.from('X')]),
      Buffer.concat([bytes.subarray(0, -1), Buffer.from(' \n')]),
      Buffer.concat([bytes.subarray(0, -1), Buffer.from([0])]),
      Buffer.concat([bytes, Buffer.from('not a log\n')]),
      Buffer.concat([bytes, Buffer.from('{}')]),
      buildLog(newSigner(), 3).bytes,
      Buffer.alloc(2_000_000, 0x41),
    ]
    for (const log of changed) {
      expect(log.equals(bytes)).toBe(false)
      home.setLog(log)
      await expect(home.audit.append(note())).rejects.toMatchObject({ code: 'AUDIT_BROKEN', exit: 5 })
      expect(home.log().equals(log)).toBe(true)
    }
  })

  test('another key than the one of the log', async () => {
    const home = await makeAuditHome()
    await home.audit.append(note())
    const other = openAudit(home.directory, { signer: newSigner(), ...stamp })
    await expect(other.append(note())).rejects.toMatchObject({ code: 'AUDIT_BROKEN' })
    await expectWhole(home, 1)
  })

  test('a log that is a link', async () => {
    const home = await makeAuditHome()
    const elsewhere = join(home.directory, 'elsewhere')
    writeFileSync(elsewhere, '')
    symlinkSync(elsewhere, join(home.directory, 'log.jsonl'))
    await expect(home.audit.append(note())).rejects.toMatchObject({ code: 'AUDIT_UNWRITABLE', exit: 9 })
    expect(readFileSync(elsewhere, 'utf8')).toBe('')
  })

  const hex = createHash('sha256').update('key').digest()
  test.each([
    ['64 hex digits', hex.toString('hex')],
    ['64 upper-case hex digits', hex.toString('hex').toUpperCase()],
    ['hex inside a sentence', `the key is ${hex.toString('hex')}.`],
    ['44 characters of base64', hex.toString('base64')],
    ['44 characters of base64url', Buffer.alloc(32, 0xfb).toString('base64url').concat('=')],
    ['base64 in quotes', `'${hex.toString('base64')}'`],
    ['base64url without padding', hex.toString('base64url')],
  ])('a value that looks like a key: %s', async (_, value) => {
    const home = await makeAuditHome()
    const drafts: EntryDraft[] = [
      note({ value }),
      note({ values: ['fine', value] }),
      { ...note(), subject: value },
      { ...note(), run: value },
    ]
    for (const draft of drafts) {
      const refused = await home.audit.append(draft).catch((error: unknown) => error)
      expect(refused).toMatchObject({ code: 'BUG', exit: 1 })
      expect(String(refused)).not.toContain(value)
    }
    expect(existsSync(join(home.directory, 'log.jsonl'))).toBe(false)
    const fields = ['fingerprint', 'newPublicKeyFingerprint', 'planDigest', 'sha256', 'tornSha256', 'head']
    for (const name of fields) await home.audit.append(note({ [name]: value }))
    await expectWhole(home, fields.length)
  })

  test.each<[string, unknown]>([
    ['a nested object', { data: { a: { b: 1 } } }],
    ['null', { data: { a: null } }],
    ['undefined', { data: { a: undefined } }],
    ['a fraction', { data: { a: 0.5 } }],
    ['bytes', { data: { a: Buffer.from('a') } }],
    ['a list of numbers', { data: { a: [1] } }],
    ['half a surrogate pair', { data: { a: '\ud800' } }],
    ['a name of several words', { data: { 'a b': 1 } }],
    ['an action of several words', { action: 'Rotate it' }],
    ['a phase of its own', { phase: 'middle' }],
    ['a field of its own', { extra: 'a' }],
    ['an exit code that is none', { exit: 0.5 }],
  ])('a shape outside of the allow-list: %s', async (_, part) => {
    const home = await makeAuditHome()
    const draft = { ...note(), ...(part as object) } as EntryDraft
    await expect(home.audit.append(draft)).rejects.toMatchObject({ code: 'BUG' })
    expect(existsSync(join(home.directory, 'log.jsonl'))).toBe(false)
  })

  test('a time that its own reader would not take', async () => {
    const home = await makeAuditHome()
    const audit = openAudit(home.directory, { ...stamp, signer: home.signer, now: () => 'yesterday' })
    await expect(audit.append(note())).rejects.toMatchObject({ code: 'BUG' })
  })
})

describe('readAudit', () => {
  test('gives the last entries of an action or a run, oldest first', async () => {
    const home = await makeAuditHome()
    home.setLog(buildLog(home.signer, 30).bytes)
    const seqs = async (query: object): Promise<number[]> =>
      (await Array.fromAsync(readAudit(home.directory, query))).map(({ seq }) => seq)
    expect(await seqs({})).toHaveLength(30)
    expect(await seqs({ last: 3 })).toEqual([28, 29, 30])
    expect(await seqs({ last: 100 })).toHaveLength(30)
    expect(await seqs({ last: 0 })).toEqual([])
    expect(await seqs({ action: 'vault', last: 2 })).toEqual([26, 29])
    expect(await seqs({ action: 'key.rotate', last: 3 })).toEqual([27, 28, 30])
    expect(await seqs({ action: 'key.rot' })).toEqual([])
    expect(await seqs({ run: 'run-4' })).toEqual([4])
  })

  test('names each line that is no entry, and goes on', async () => {
    const home = await makeAuditHome()
    const { bytes } = buildLog(home.signer, 2)
    home.setLog(Buffer.concat([Buffer.from('nonsense\n'), bytes, Buffer.from('{"torn')]))
    const lines: number[] = []
    const entries = readAudit(home.directory, { onUnreadable: (line) => lines.push(line) })
    expect(await Array.fromAsync(entries)).toHaveLength(2)
    expect(lines).toEqual([1, 4])
  })

  test('of a log that does not exist gives nothing', async () => {
    const home = await makeAuditHome()
    expect(await entriesOf(home.directory)).toEqual([])
  })
})

test('a head is printed as people keep it', async () => {
  const home = await makeAuditHome()
  const head = await home.audit.append(note())
  expect(formatHead(head)).toBe(`1:${head.head}`)
})
