import { setImmediate } from 'node:timers/promises'
import { KvxError } from '../core/errors.ts'
import type { StoredRecord } from '../stores/store.ts'
import { displayId } from './cells.ts'
import { CensusTaker, type Census } from './census.ts'
import { openRecord, stateOf, type Opened } from './chain.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import { stopIfInterrupted } from './events.ts'
import { openSealed, parseSealed } from './sealed-value.ts'
import type { CensusOptions } from './workload.ts'

const pageSize = 500
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
  const taker = new CensusTaker(envelope.name)
  let controls = controlSample
  for await (const page of store.scan(envelope.set, pageSize)) {
    await breathe(options.run)
    const room = (options.sample ?? Number.POSITIVE_INFINITY) - taker.records
    if (room <= 0) break
    for (const record of page.slice(0, room)) {
      const opened = openRecord(envelope, record, book)
      try {
        if (opened.kind === 'sealed' && controls > 0) {
          controls--
          refuseUnauthenticated(open, record, opened)
        }
        taker.add(opened, () => displayId(record.id))
      } finally {
        if (opened.kind === 'sealed') opened.wipe()
      }
    }
    const unreadable = taker.takeUnnoted()
    if (unreadable.length > 0) await options.unreadable?.(unreadable)
    const total = Number(facts.records)
    options.events.progress({ phase: options.phase, envelope: envelope.name, done: taker.records, total })
  }
  return taker.take()
}

/** Lets signals in and stops between two pages when one came. */
export async function breathe(run: string | undefined): Promise<void> {
  await setImmediate()
  stopIfInterrupted(run)
}

function refuseUnauthenticated(
  { envelope, book }: OpenEnvelope,
  record: StoredRecord,
  opened: Opened & { kind: 'sealed' },
): void {
  const state = stateOf(envelope, record)
  const parts = opened.under.map(({ sealed, parsed }) => ({ sealed, parsed }))
  if (envelope.dek !== undefined) {
    for (const sealed of envelope.values) {
      const parsed = parseSealed(sealed, state, envelope.plaintext)
      if (typeof parsed !== 'string') parts.push({ sealed, parsed })
    }
  }
  for (const { sealed, parsed } of parts) {
    if (openSealed(sealed, parsed, state, book.control(sealed.aead)) === undefined) continue
    throw new KvxError(
      'LAYOUT_NOT_PROVEN',
      `${envelope.name}: a random key opens record ${displayId(record.id)}`,
      {
        hint: 'The declared cipher does not authenticate this value, so no key can be proven on it. Nothing was changed.',
      },
    )
  }
}
