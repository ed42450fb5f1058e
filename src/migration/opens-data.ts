import { KvxError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Config } from '../config/config.ts'
import { openStore } from '../stores/open-store.ts'
import { compileEnvelopes } from './envelope/compile-envelope.ts'
import type { Envelope } from './envelope/envelope.ts'
import { KeyBook } from './envelope/key-book.ts'
import { envelopeWorkload } from './envelope-workload.ts'

const looked = 100

/**
 * Whether one of these keys, which no ring has yet, opens a value among the first records of what is declared under
 * `name`: then it is the application's key, whatever else may be said of it. A store that does not answer proves
 * nothing. Writes nothing; the keys are copied.
 */
export async function opensData(config: Config, name: string, keys: readonly Secret[]): Promise<boolean> {
  const names = Object.keys(config.envelopes).filter((one) => config.envelopes[one]?.key === name)
  if (names.length === 0) return false
  try {
    for (const envelope of compileEnvelopes(config, names)) {
      if (await opensOne(config, envelope, keys)) return true
    }
  } catch (error) {
    if (!(error instanceof KvxError)) throw error
  }
  return false
}

async function opensOne(config: Config, envelope: Envelope, keys: readonly Secret[]): Promise<boolean> {
  const place = config.stores[envelope.store]
  if (place === undefined) return false
  const store = await openStore(envelope.store, place, undefined)
  const copies = keys.map((key) => key.lend((bytes) => Secret.copy(bytes)))
  const book = KeyBook.of(envelope.key, copies)
  try {
    const workload = envelopeWorkload({ envelope, store, book })
    const census = await workload.census({
      phase: 'verify',
      events: { progress: () => undefined },
      sample: looked,
    })
    return [...census.byVersion.values()].some((count) => count > 0)
  } finally {
    book.wipe()
    await store.close()
  }
}
