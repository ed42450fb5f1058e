import type { Secret } from './secret.ts'

export type Weakness = {
  readonly rule: 'all-equal' | 'counter' | 'few-distinct' | 'repeated-pattern' | 'printable'
  /** What is wrong, without a byte of the key. */
  readonly message: string
}

/**
 * Finds keys that no random source makes: test keys, placeholders, passphrases. A random key of 16 bytes or
 * more is flagged with a chance below 2^-60; a key that passes is not thereby random.
 *
 * `printable` comes last, so that keys declared as `ascii` can be excused from that rule alone.
 */
export function weaknessOf(material: Secret): Weakness | undefined {
  return material.lend((bytes) => {
    const length = bytes.length
    if (length === 0) return undefined
    const steps = stepsOf(bytes)
    if (length > 1 && steps.size === 1) {
      return steps.has(0)
        ? { rule: 'all-equal', message: `all ${length} bytes of the key are the same` }
        : { rule: 'counter', message: 'the bytes of the key count up or down in equal steps' }
    }
    const distinct = new Set(bytes).size
    if (distinct <= fewest(length)) {
      return {
        rule: 'few-distinct',
        message: `the ${length} bytes of the key have ${distinct} different values`,
      }
    }
    const period = periodOf(bytes)
    if (period !== undefined) {
      return { rule: 'repeated-pattern', message: `the key repeats itself every ${period} bytes` }
    }
    if (bytes.every((code) => code >= 0x20 && code <= 0x7e)) {
      return {
        rule: 'printable',
        message: 'every byte of the key is a printable character: it looks like a passphrase',
      }
    }
    return undefined
  })
}

/** The differences between neighbours, modulo 256. */
function stepsOf(bytes: Uint8Array): ReadonlySet<number> {
  const steps = new Set<number>()
  for (let at = 1; at < bytes.length; at++) steps.add(((bytes[at] ?? 0) - (bytes[at - 1] ?? 0)) & 0xff)
  return steps
}

function fewest(length: number): number {
  return length >= 32 ? 8 : length >= 16 ? 4 : 1
}

/** The shortest distance at which all bytes repeat, at most half the length. */
function periodOf(bytes: Uint8Array): number | undefined {
  for (let period = 2; period <= bytes.length / 2; period++) {
    if (bytes.subarray(period).every((byte, at) => byte === bytes[at])) return period
  }
  return undefined
}
