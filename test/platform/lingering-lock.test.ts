import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, expect, test } from 'vitest'
import { whileLocked } from '../../src/platform/lingering-lock.ts'
import { acquireLock } from '../../src/platform/lock.ts'
import { beLoneCommand } from '../../src/platform/lone-command.ts'
import { needsTool } from '../support/needs.ts'
import { platformFile } from '../support/platform-process.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'

beforeEach((context) => needsTool(context, 'flock'))

const lock = { what: 'the home', waitMs: 20_000 }

// No test depends on another one: the word is said for all of them.
beLoneCommand()

/** Asked without kvx. */
function isLocked(directory: string): boolean {
  return spawnSync('flock', ['-n', '-x', directory, 'true']).status !== 0
}

/** A script that has the functions of the lock, in a process of its own. */
function script(body: string, first = 'beLoneCommand()'): string[] {
  const imports = `
    import { whileLocked } from ${JSON.stringify(platformFile('lingering-lock.ts'))}
    import { beLoneCommand } from ${JSON.stringify(platformFile('lone-command.ts'))}
    import { acquireLock } from ${JSON.stringify(platformFile('lock.ts'))}
    const lock = { what: 'the home', waitMs: 20_000 }`
  return ['--input-type=module', '-e', `${imports}\n${first}\n${body}`]
}

test('in a process that does other things, too, the lock goes with the work', () => {
  const directory = JSON.stringify(trustedDirectory())
  const body = `
    const { spawnSync } = await import('node:child_process')
    const isLocked = () => spawnSync('flock', ['-n', '-x', ${directory}, 'true']).status !== 0
    const within = await whileLocked(${directory}, lock, async () => isLocked())
    console.log(within, isLocked())`
  const { stdout } = spawnSync(process.execPath, script(body, ''), { encoding: 'utf8' })
  expect(stdout.trim()).toBe('true false')
})

test('the lock is held for the work, stays for a moment, and goes when nobody takes it again', async () => {
  const directory = trustedDirectory()
  expect(await whileLocked(directory, lock, async () => Promise.resolve(isLocked(directory)))).toBe(true)
  expect(isLocked(directory)).toBe(true)
  await expect.poll(() => isLocked(directory)).toBe(false)
})

test('it goes where the work failed, too', async () => {
  const directory = trustedDirectory()
  const failed = whileLocked(directory, lock, async () => Promise.reject(new Error('no')))
  await expect(failed).rejects.toThrow('no')
  await expect.poll(() => isLocked(directory)).toBe(false)
})

test('steps of one process come one after the other, whether they ask at once or in turn', async () => {
  const directory = trustedDirectory()
  let within = 0
  const step = async (): Promise<void> => {
    expect(++within).toBe(1)
    await sleep(5)
    expect(isLocked(directory)).toBe(true)
    within--
  }
  await Promise.all(Array.from({ length: 5 }, () => whileLocked(directory, lock, step)))
  for (let turn = 0; turn < 5; turn++) await whileLocked(directory, lock, step)
})

test('steps in a row start one other program, not one each', (context) => {
  needsTool(context, 'strace')
  const directory = trustedDirectory()
  const trace = join(directory, 'programs')
  const body = `for (let turn = 0; turn < 10; turn++) await whileLocked(${JSON.stringify(directory)}, lock, async () => undefined)`
  const args = ['-f', '-qq', '-e', 'trace=execve', '-e', 'status=successful', '-o', trace]
  execFileSync('strace', [...args, process.execPath, ...script(body)], { stdio: 'inherit' })
  const started = execFileSync('grep', ['-c', '"/usr/bin/flock"', trace], { encoding: 'utf8' })
  expect(Number(started)).toBe(1)
})

test('a process that has nothing left to do does not wait for it, and its lock ends with it', () => {
  const directory = trustedDirectory()
  const body = `
    await whileLocked(${JSON.stringify(directory)}, lock, async () => undefined)
    console.log(process.getActiveResourcesInfo().includes('Timeout'))`
  const { stdout, status } = spawnSync(process.execPath, script(body), { encoding: 'utf8' })
  expect([status, stdout.trim()]).toEqual([0, 'false'])
  expect(isLocked(directory)).toBe(false)
})

test('who waits elsewhere gets its turn beside a process that takes the lock again and again', async () => {
  const directory = trustedDirectory()
  let isOver = false
  let steps = 0
  const busy = (async () => {
    while (!isOver) {
      await whileLocked(directory, lock, async () => sleep(3))
      steps++
    }
  })()
  const other = acquireElsewhere(directory)
  expect(await other).toBe('GOT')
  isOver = true
  await busy
  expect(steps).toBeGreaterThan(5)
})

async function acquireElsewhere(directory: string): Promise<string> {
  const body = `await acquireLock(${JSON.stringify(directory)}, 'the home', { waitMs: 8000 }); console.log('GOT'); process.exit(0)`
  return await new Promise((done) => {
    execFile(process.execPath, script(body), (_error, stdout, stderr) => done(stdout.trim() || stderr))
  })
}

test('a directory that was replaced meanwhile is locked anew', async () => {
  const parent = trustedDirectory()
  const directory = join(parent, 'home')
  mkdirSync(directory)
  await whileLocked(directory, lock, async () => Promise.resolve())
  renameSync(directory, join(parent, 'old'))
  mkdirSync(directory)
  await whileLocked(directory, lock, async () => {
    expect(isLocked(directory)).toBe(true)
    await Promise.resolve()
  })
})

test('another lock of the same directory waits for the moment to be over', async () => {
  const directory = trustedDirectory()
  await whileLocked(directory, lock, async () => Promise.resolve())
  expect(isLocked(directory)).toBe(true)
  const plain = await acquireLock(directory, 'it', { waitMs: 5000 })
  plain.release()
})
