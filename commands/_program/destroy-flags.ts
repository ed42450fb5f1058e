import { parseDuration } from '../../src/core/duration.ts'
import { KvxError } from '../../src/core/errors.ts'

/** Milliseconds of a waiting time. @throws USAGE */
export function requireWaitingTime(text: string): number {
  const ms = parseDuration(text)
  if (ms !== undefined) return ms
  throw new KvxError('USAGE', 'a waiting time is a number and a unit', {
    hint: 'For example `--after 7d`, `12h` or `30m`.',
  })
}
