import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { KvxError } from '../../src/core/errors.ts'
import type { Audit } from '../../src/audit/audit.ts'
import { readAudit } from '../../src/audit/read-audit.ts'
import { withIntent } from '../../src/audit/with-intent.ts'
import { needsOtherUsers } from '../support/needs.ts'
import { type AuditHome, buildLog, makeAuditHome } from './audit-home.ts'

const intent = { action: 'key.rotate', subject: 'master@2', run: 'r1', data: { from: 1, to: 2 } }
const worker = join(import.meta.dirname, 'intent-worker.ts')

async function logged(home: AuditHome): Promise<unknown[]> {
  const entries = await Array.fromAsync(readAudit(home.directory))
  return entries.map(({ action, subject, run, phase, data, exit }) => ({
    action,
    subject,
    run,
    phase,
    data,
    exit,
  }))
}

const who = { action: 'key.rotate', subject: 'master@2', run: 'r1' }
const intentEntry = { ...who, phase: 'intent', data: { from: 1, to: 2 }, exit: undefined }

describe('withIntent', () => {
  test('writes the intent before the work begins, and the result after it', async () => {
    const home = await makeAuditHome()
    const result = await withIntent(home.audit, intent, async ({ conclude }) => {
      expect(await logged(home)).toEqual([intentEntry])
      conclude({ changed: 3 })
      conclude({ retried: 1 })
      return 'value'
    })
    expect(result).toBe('value')
    const data = { outcome: 'done', intent: 1, changed: 3, retried: 1 }
    expect(await logged(home)).toEqual([intentEntry, { ...who, phase: 'result', exit: 0, data }])
  })

  test('writes the exit code of work that ends with findings', async () => {
    const home = await makeAuditHome()
    await withIntent(home.audit, intent, async ({ exit }) => exit(3))
    expect((await logged(home))[1]).toMatchObject({ exit: 3, data: { outcome: 'done' } })
  })

  test('writes code and exit of a refusal, never its message, and passes it on', async () => {
    const home = await makeAuditHome()
    const refusal = new KvxError('VALUES_REMAIN', 'three values remain')
    const work = withIntent(home.audit, intent, async ({ conclude }) => {
      conclude({ remaining: 3 })
      throw refusal
    })
    await expect(work).rejects.toBe(refusal)
    const data = { outcome: 'failed', error: 'VALUES_REMAIN', intent: 1, remaining: 3 }
    expect((await logged(home))[1]).toEqual({ ...who, phase: 'result', exit: 6, data })
  })

  test('writes an error that is no refusal as a bug, without its text', async () => {
    const home = await makeAuditHome()
    const error = new Error('text with a value')
    await expect(withIntent(home.audit, intent, () => Promise.reject(error))).rejects.toBe(error)
    expect((await logged(home))[1]).toMatchObject({ exit: 1, data: { outcome: 'failed', error: 'BUG' } })
    expect(home.log().toString()).not.toContain('text with a value')
  })

  test('writes the result of work that throws before it returns a promise', async () => {
    const home = await makeAuditHome()
    await expect(withIntent(home.audit, intent, throwAtOnce)).rejects.toMatchObject({ code: 'WRONG_KEY' })
    expect((await logged(home))[1]).toMatchObject({ exit: 5 })
  })

  test('says that the work is done when only its result is missing in the log', async () => {
    const home = await makeAuditHome()
    const work = withIntent(failingAfter(home.audit, 1), intent, () => Promise.resolve())
    await expect(work).rejects.toMatchObject({
      code: 'AUDIT_UNWRITABLE',
      message: 'key.rotate is done, but its result is not in the audit log: full',
    })
  })

  test('passes the failure of the work on when its result is missing in the log too, and says so', async () => {
    const home = await makeAuditHome()
    const refusal = new KvxError('WRONG_KEY', 'wrong key', { hint: 'a hint' })
    const work = withIntent(failingAfter(home.audit, 1), intent, () => Promise.reject(refusal))
    await expect(work).rejects.toMatchObject({
      code: 'WRONG_KEY',
      message: 'wrong key; the audit log took no result entry',
      hint: 'a hint',
    })
  })
})

function throwAtOnce(): Promise<void> {
  throw new KvxError('WRONG_KEY', 'at once')
}

function failingAfter(audit: Audit, count: number): Audit {
  let appended = 0
  return {
    ...audit,
    append: (draft) => {
      appended += 1
      return appended > count ? Promise.reject(new KvxError('AUDIT_UNWRITABLE', 'full')) : audit.append(draft)
    },
  }
}

const nobody = 65534
const isRoot = process.geteuid?.() === 0

/** Root writes wherever it likes, so the worker runs as nobody, who owns the home. */
function giveToNobody(home: AuditHome, logMode: number, directoryMode: number): void {
  for (const name of readdirSync(home.directory)) {
    const path = join(home.directory, name)
    if (isRoot) chownSync(path, nobody, nobody)
    chmodSync(path, name === 'log.jsonl' ? logMode : 0o600)
  }
  if (isRoot) chownSync(home.directory, nobody, nobody)
  chmodSync(home.directory, directoryMode)
}

function runWorker(home: AuditHome, command: readonly string[] = []): unknown {
  const [program, ...args] = [...command, process.execPath, worker, home.directory]
  const user = isRoot ? { uid: nobody, gid: nobody } : {}
  const run = spawnSync(program, args, { encoding: 'utf8', ...user })
  expect(run.stderr).toBe('')
  return JSON.parse(run.stdout)
}

const unwritable = { called: false, code: 'AUDIT_UNWRITABLE', exit: 9 }

describe('work whose intent cannot be written', () => {
  beforeEach((context) => {
    if (isRoot) needsOtherUsers(context)
  })

  test('is begun as long as it can be', async () => {
    const home = await makeAuditHome()
    home.setLog(buildLog(home.signer, 3).bytes)
    giveToNobody(home, 0o600, 0o700)
    expect(runWorker(home)).toEqual({ called: true })
    expect(await logged(home)).toHaveLength(5)
  })

  test('is never begun when the log is read-only', async () => {
    const home = await makeAuditHome()
    home.setLog(buildLog(home.signer, 3).bytes)
    giveToNobody(home, 0o400, 0o500)
    expect(runWorker(home)).toMatchObject({
      ...unwritable,
      message: expect.stringContaining('permission denied'),
    })
    expect(await logged(home)).toHaveLength(3)
  })

  test('is never begun when the directory takes no new log', async () => {
    const home = await makeAuditHome()
    giveToNobody(home, 0o600, 0o500)
    expect(runWorker(home)).toMatchObject(unwritable)
    expect(readdirSync(home.directory).sort()).toEqual(['audit.key', 'audit.pub'])
  })

  test.each([0, 1, 200])(
    'is never begun when the medium takes %d more bytes, and no byte of it stays',
    async (room) => {
      const home = await makeAuditHome()
      const { bytes } = buildLog(home.signer, 30)
      home.setLog(bytes)
      giveToNobody(home, 0o600, 0o700)
      // A limit on the size of files gives a short write and then an error, as a full disk does.
      const limit = ['prlimit', `--fsize=${bytes.length + room}`, '--']
      expect(runWorker(home, limit)).toMatchObject({
        ...unwritable,
        message: expect.stringContaining('limit'),
      })
      expect(home.log().equals(bytes)).toBe(true)
      expect(statSync(home.directory).mode & 0o777).toBe(0o700)
      expect(runWorker(home)).toEqual({ called: true })
    },
  )

  test('is never begun when the last line of the log was changed', async () => {
    const home = await makeAuditHome()
    home.setLog(Buffer.concat([buildLog(home.signer, 3).bytes, Buffer.from('{}\n')]))
    let called = false
    const work = withIntent(home.audit, intent, async () => {
      called = true
    })
    await expect(work).rejects.toMatchObject({ code: 'AUDIT_BROKEN' })
    expect(called).toBe(false)
  })
})
