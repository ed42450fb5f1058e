import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { acquireLock, acquireLocks } from '../../src/platform/lock.ts'
import { needsOtherUsers, needsTool } from '../support/needs.ts'
import { platformFile } from '../support/platform-process.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'

beforeEach((context) => needsTool(context, 'flock'))

const started = new Set<ChildProcess>()
afterEach(() => {
  for (const child of started) child.kill('SIGKILL')
  started.clear()
})

type Contender = { readonly child: ChildProcess; readonly says: string }

/** A process that tries to lock, says `GOT` or the code and message of the error, and stays until it is killed. */
async function contend(
  directory: string,
  options: { uid?: number; extra?: string } = {},
): Promise<Contender> {
  const script = `
    import { acquireLock } from ${JSON.stringify(platformFile('lock.ts'))}
    import { runChild } from ${JSON.stringify(platformFile('child.ts'))}
    try {
      globalThis.lock = await acquireLock(${JSON.stringify(directory)}, 'the home')
      ${options.extra ?? ''}
      console.log('GOT')
    } catch (error) {
      console.log(error.code + ': ' + error.message)
    }
    setInterval(() => undefined, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  })
  started.add(child)
  const says = await new Promise<string>((done) => {
    child.stdout?.setEncoding('utf8').once('data', (text: string) => done(text.trim()))
    child.once('exit', (code) => done(`ended with ${String(code)}`))
  })
  return { child, says }
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = new Promise((done) => child.once('exit', done))
  child.kill('SIGKILL')
  await ended
}

test('of 12 processes exactly one gets the lock, the others name it', async () => {
  const directory = trustedDirectory()
  const elsewhere = await acquireLock(trustedDirectory(), 'another directory')
  const all = await Promise.all(Array.from({ length: 12 }, () => contend(directory)))
  const winners = all.filter(({ says }) => says === 'GOT')
  const losers = all.filter(({ says }) => says.startsWith('LOCKED: the home is locked by '))
  expect([winners.length, losers.length]).toEqual([1, 11])
  const late = acquireLock(directory, 'the home')
  await expect(late).rejects.toMatchObject({
    code: 'LOCKED',
    exit: 8,
    message: expect.stringMatching(
      new RegExp(`process ${String(winners[0]?.child.pid)} \\(.*\\), running since 20[^ ]*Z$`),
    ) as string,
    details: { pid: winners[0]?.child.pid },
  })
  expect(readdirSync(directory)).toEqual([])
  elsewhere.release()
})

test('after kill -9 of the holder the next one has it at the first try', async () => {
  const directory = trustedDirectory()
  for (let round = 0; round < 3; round += 1) {
    const { child, says } = await contend(directory)
    expect(says).toBe('GOT')
    await kill(child)
    const lock = await acquireLock(directory, 'the home')
    lock.release()
  }
})

test('a child that outlives its killed parent does not keep the lock', async () => {
  const directory = trustedDirectory()
  const extra = `void runChild('sleep', ['20'], { ownSession: true }); await new Promise((done) => setTimeout(done, 300))`
  const { child, says } = await contend(directory, { extra })
  expect(says).toBe('GOT')
  await kill(child)
  const lock = await acquireLock(directory, 'the home')
  lock.release()
})

test('the garbage collector does not give the lock back', async () => {
  const directory = trustedDirectory()
  const extra = `globalThis.lock = undefined; for (let i = 0; i < 20; i += 1) { Buffer.alloc(5e7); await new Promise(setImmediate) }`
  expect((await contend(directory, { extra })).says).toBe('GOT')
  await expect(acquireLock(directory, 'the home')).rejects.toMatchObject({ code: 'LOCKED' })
})

describe('in one process', () => {
  test('a second lock is refused until the first is released, and releasing twice is fine', async () => {
    const directory = trustedDirectory()
    const first = await acquireLock(directory, 'the home')
    await expect(acquireLock(directory, 'the home')).rejects.toMatchObject({ details: { pid: process.pid } })
    first.release()
    const second = await acquireLock(directory, 'the home')
    first.release()
    await expect(acquireLock(directory, 'the home')).rejects.toMatchObject({ code: 'LOCKED' })
    second.release()
  })

  test('who waits gets it when it is released in time, and is refused after the time', async () => {
    const directory = trustedDirectory()
    const first = await acquireLock(directory, 'the home')
    const start = performance.now()
    const refused = acquireLock(directory, 'the home', { waitMs: 200 })
    await expect(refused).rejects.toMatchObject({ code: 'LOCKED' })
    expect(performance.now() - start).toBeGreaterThanOrEqual(200)
    setTimeout(() => first.release(), 150)
    const second = await acquireLock(directory, 'the home', { waitMs: 20_000 })
    second.release()
  })

  test('several directories are locked once each, all or none', async () => {
    const parent = trustedDirectory()
    const [a, b, c] = ['a', 'b', 'c'].map((name) => join(parent, name)) as [string, string, string]
    for (const path of [a, b, c]) mkdirSync(path)
    const other = await acquireLock(b, 'b')
    await expect(acquireLocks([c, a, b], 'the stores')).rejects.toMatchObject({ code: 'LOCKED' })
    other.release()
    const all = await acquireLocks([c, a, join(a, '..', 'b'), b], 'the stores')
    for (const path of [a, b, c]) {
      await expect(acquireLock(path, 'it')).rejects.toMatchObject({ code: 'LOCKED' })
    }
    all.release()
    const again = await acquireLock(c, 'c')
    again.release()
  })

  test('a missing directory and a file are refused', async () => {
    const missing = acquireLock(join(trustedDirectory(), 'none'), 'it')
    await expect(missing).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await expect(acquireLock('/etc/passwd', 'it')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })
})

test('a user who cannot see the holder is refused all the same', async (context) => {
  needsOtherUsers(context)
  const directory = trustedDirectory(0o755)
  const lock = await acquireLock(directory, 'the home')
  const { says } = await contend(directory, { uid: 65534 })
  lock.release()
  expect(says).toBe('LOCKED: the home is locked by another process')
})
