import { setImmediate } from 'node:timers/promises'
import { KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { StoredRecord } from '../stores/store.ts'
import { displayId } from './cells.ts'
import { CensusTaker, type Census } from './census.ts'
import { openInstance, versionKey } from './envelope/open-instance.ts'
import { parseSealed, stateOf } from './envelope/instance.ts'
import { type Opened, openPage, type OpenedRecord } from './envelope/open-record.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import { stopIfInterrupted } from './events.ts'
import { countJoined } from './joined.ts'
import { readAhead } from './read-ahead.ts'
import { SealedTwice } from './sealed-twice.ts'
import type { CensusOptions } from './workload.ts'

/** So many records are read at once. */
const pageSize = 500
/** So many are opened at once: enough to share a cipher's call, and few enough to be garbage while they are young. */
const togetherSize = 64
/** So many records of each envelope are also tried with a random key before anything is written. */
const controlSample = 1000

/**
 * Opens every record of an envelope once, through the whole declared chain, and counts what lies under which
 * version. A sample must not open with a random key: otherwise the declaration does not authenticate anything.
 * @throws LAYOUT_NOT_PROVEN when the random key opens something, STORE_SHAPE, INTERRUPTED
 */
export async function takeCensus(open: OpenEnvelope, options: CensusOptions): Promise<Census> {
  const { envelope, store, book } = open
  const facts = await store.inspect(envelope.set)
  const { joined } = envelope
  const total =
    Number(facts.records) + (joined === undefined ? 0 : Number((await store.inspect(joined.set)).records))
  const taker = new CensusTaker(envelope.name)
  const room = (): number => (options.sample ?? Number.POSITIVE_INFINITY) - taker.records
  const told = async (): Promise<boolean> => {
    await breathe(options.run)
    const unreadable = taker.takeUnnoted()
    if (unreadable.length > 0) await options.unreadable?.(unreadable)
    options.events.progress({ phase: options.phase, envelope: envelope.name, done: taker.records, total })
    return room() > 0
  }
  const isFresh = options.fresh && ((dek: Secret) => options.fresh?.has(dek) === true)
  let controls = controlSample
  const inner = envelope.wraps.length === 0 ? new SealedTwice(book) : undefined
  try {
    const pages = store.scan(envelope.set, pageSize)
    for await (const page of store.overlaps === true ? readAhead(pages) : pages) {
      if (room() <= 0) break
      for (const records of openedTogether(page.slice(0, room()))) {
        countPage(records, openPage(records, { envelope, book, isFresh }), (record, one) => {
          if (one.kind === 'sealed' && controls-- > 0) refuseUnauthenticated(open, record, one)
          if (one.kind === 'sealed') inner?.add(one)
          taker.add(one, () => displayId(record.id))
        })
      }
      await told()
    }
  } finally {
    inner?.wipe()
  }
  if (joined !== undefined)
    await countJoined(open, joined, taker, { strict: options.fresh !== undefined, each: told })
  await told()
  return taker.take(inner?.found)
}

/** The records of a page in the pieces that are opened together. */
export function* openedTogether(page: readonly StoredRecord[]): Generator<readonly StoredRecord[]> {
  for (let from = 0; from < page.length; from += togetherSize) yield page.slice(from, from + togetherSize)
}

/** What was opened is wiped, also when counting it throws. */
function countPage(
  records: readonly StoredRecord[],
  opened: readonly Opened[],
  count: (record: StoredRecord, one: Opened) => void,
): void {
  try {
    for (const [at, record] of records.entries()) {
      const one = opened[at]
      if (one !== undefined) count(record, one)
    }
  } finally {
    for (const one of opened) if (one.kind === 'sealed') one.wipe()
  }
}

/** Lets signals in and stops between two pages when one came. */
export async function breathe(run: string | undefined): Promise<void> {
  await setImmediate()
  stopIfInterrupted(run)
}

function refuseUnauthenticated(
  { envelope, book }: OpenEnvelope,
  record: StoredRecord,
  opened: OpenedRecord,
): void {
  const state = stateOf(envelope.set.id, record)
  const lower = envelope.wraps.length === 0 ? [] : [...envelope.wraps.slice(1), ...envelope.values]
  const below = lower.flatMap((sealed) => parseSealed(sealed, state, envelope))
  const instances = [
    ...opened.under.map(({ instance }) => instance),
    ...below.flatMap((found) => (typeof found === 'string' ? [] : found)),
  ]
  const by = versionKey(book, 'control')
  for (const instance of instances) {
    // One that does not authenticate is told by its plaintext's test, which the opening asks for one key alone.
    if (instance.form.cipher.kind === 'legacy') continue
    const plaintext = openInstance(instance, state, by)
    if (plaintext === undefined) continue
    plaintext.fill(0)
    throw new KvxError(
      'LAYOUT_NOT_PROVEN',
      `${envelope.name}: a random key opens record ${displayId(record.id)}`,
      {
        hint: 'The declared cipher does not authenticate this value, so no key can be proven on it. Nothing was changed.',
      },
    )
  }
}
