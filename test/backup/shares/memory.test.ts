import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { split } from 'shamir-secret-sharing'
import { describe, expect, it, type TestContext } from 'vitest'
import { sealCanary } from '../../../src/core/canary.ts'
import { fingerprintOf } from '../../../src/core/fingerprint.ts'
import { Secret } from '../../../src/core/secret.ts'

const worker = join(import.meta.dirname, 'memory-worker.ts')

/** How often the bytes lie in memory that the process may write, seen from outside. */
function copies(pid: number, needle: Buffer): number {
  const regions = readFileSync(`/proc/${pid}/maps`, 'latin1').matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw.. .*$/gm)
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  let found = 0
  try {
    for (const [, from = '0', to = '0'] of regions) {
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)]
      found += copiesIn(memory, { start, length: end - start }, needle)
    }
  } finally {
    closeSync(memory)
  }
  return found
}

function copiesIn(
  memory: number,
  region: { readonly start: number; readonly length: number },
  needle: Buffer,
): number {
  const part = Buffer.alloc(16 * 1024 * 1024 + needle.length)
  let found = 0
  for (let at = 0; at < region.length; at += part.length - needle.length) {
    let read = 0
    try {
      read = readSync(memory, part, 0, Math.min(part.length, region.length - at), region.start + at)
    } catch {
      continue // reserved, and nothing there
    }
    const bytes = part.subarray(0, read)
    for (let hit = bytes.indexOf(needle); hit !== -1; hit = bytes.indexOf(needle, hit + 1)) found++
  }
  return found
}

/** Starts the worker, hands it the bytes, and waits until it is done with them. */
async function working(
  args: readonly string[],
  input: Buffer,
): Promise<{ readonly child: ChildProcess; readonly said: string }> {
  const child = spawn(process.execPath, [worker, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(input)
  const said = await new Promise<string>((done, failed) => {
    child.stdout.once('data', (chunk: Buffer) => done(chunk.toString()))
    child.once('exit', (code) => failed(new Error(`the worker ended with ${code}`)))
  })
  return { child, said }
}

function needsMemory(context: TestContext): void {
  try {
    closeSync(openSync(`/proc/${process.pid}/mem`, 'r'))
  } catch {
    context.skip('this machine lets nobody read the memory of a process')
  }
}

describe('the memory of a process', { timeout: 60_000 }, () => {
  it('C48 holds the key once after its fingerprint and its canary were made', async (context) => {
    needsMemory(context)
    const key = randomBytes(32)
    const fingerprint = fingerprintOf(Secret.copy(key))
    const { child, said } = await working(['fingerprint'], key)
    try {
      expect(said).toBe(`${fingerprint} true\n`)
      expect(copies(child.pid ?? 0, key)).toBe(1)
    } finally {
      child.kill('SIGKILL')
    }
  })

  it('C23 holds neither the key nor a share after a drill', async (context) => {
    needsMemory(context)
    const key = randomBytes(32)
    const secret = Secret.copy(key)
    const fingerprint = fingerprintOf(secret)
    const canary = sealCanary(secret, 'k@1', randomBytes(12))
    const points = (await split(new Uint8Array(key), 3, 2)).slice(0, 2).map((point) => Buffer.from(point))
    const { child, said } = await working(['drill', fingerprint, canary], Buffer.concat(points))
    try {
      expect(said).toBe(`${fingerprint} true\n`)
      expect(copies(child.pid ?? 0, key)).toBe(0)
      for (const point of points) expect(copies(child.pid ?? 0, point.subarray(0, 32))).toBe(0)
    } finally {
      child.kill('SIGKILL')
    }
  })
})
