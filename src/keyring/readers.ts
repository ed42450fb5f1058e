import type { KeyConfig } from '../config/schema.ts'
import { parseDuration } from '../core/duration.ts'
import { KvxError } from '../core/errors.ts'
import { runChild } from '../platform/child.ts'

const readerTimeoutMs = 120_000

/** The longest time that a reader goes on with something it has opened before, in milliseconds. */
export function cacheTtlMs(key: KeyConfig): number {
  return Math.max(
    0,
    ...key.publish.map((place) =>
      place['cache-ttl'] === undefined ? 0 : (parseDuration(place['cache-ttl']) ?? 0),
    ),
  )
}

/** Who must have a version before anything is sealed with it, in words; the number where it was declared. */
export function everyReader(key: KeyConfig | undefined): string {
  const places = key?.publish ?? []
  const count = places.reduce((sum, { instances }) => sum + instances, 0)
  return count > places.length ? `each of the ${count} readers` : 'every reader'
}

/** Whether readers can open with a second key in every published place. */
export function hasPreviousSlots(key: KeyConfig): boolean {
  return key.publish.every((place) => place.previous !== undefined)
}

/** Whether every published place has a probe that says when its readers have the staged version. */
export function isProbed(key: KeyConfig): boolean {
  return key.publish.length > 0 && key.publish.every((place) => place.probe !== undefined)
}

/**
 * Makes the readers take what is published now, place by place. The key is not handed to the programs.
 * @param again the command that goes on when a program failed
 * @returns the programs that ran
 * @throws TOOL_FAILED naming the program and its exit code
 */
export async function reloadReaders(key: KeyConfig, again = 'kvx run resume'): Promise<readonly string[]> {
  const ran: string[] = []
  for (const { reload } of key.publish) {
    if (reload === undefined) continue
    const [program = '', ...args] = reload
    const { exitCode } = await runChild(program, args, { timeoutMs: readerTimeoutMs })
    if (exitCode !== 0) {
      throw new KvxError('TOOL_FAILED', `the reload program ${program} ended with exit code ${exitCode}`, {
        hint: `Run it by hand to see why, then go on with \`${again}\`: what is done already is not repeated.`,
      })
    }
    ran.push(program)
  }
  return ran
}

/** @throws ROLLOUT_NOT_DECLARED when a probe says that a reader cannot open the staged version yet */
export async function probeReaders(key: KeyConfig, subject: string): Promise<void> {
  for (const { probe } of key.publish) {
    if (probe === undefined) continue
    const [program = '', ...args] = probe
    const { exitCode } = await runChild(program, args, { timeoutMs: readerTimeoutMs })
    if (exitCode === 0) continue
    throw new KvxError(
      'ROLLOUT_NOT_DECLARED',
      `the probe ${program} ended with exit code ${exitCode}: a reader does not have ${subject} yet`,
      {
        hint: `Restart that reader, then \`kvx rotate ${subject.split('@')[0] ?? ''} --activate\`. Nothing was sealed under the new version.`,
      },
    )
  }
}
