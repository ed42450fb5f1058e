import { setImmediate } from 'node:timers/promises'
import { KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { StoredRecord } from '../stores/store.ts'
import { displayId } from './cells.ts'
import { CensusTaker, type Census, type Tally } from './census.ts'
import { belowWrap } from './envelope/envelope.ts'
import { openInstance, versionKey } from './envelope/open-instance.ts'
import { parseAll } from './envelope/instance.ts'
import type { OpenedRecord } from './envelope/open-record.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import { stopIfInterrupted } from './events.ts'
import { countJoined } from './joined.ts'
import { tallyPage } from './page-work.ts'
import { inOrder, readAhead } from './read-ahead.ts'
import { SealedTwice } from './sealed-twice.ts'
import type { CensusOptions } from './workload.ts'

/** So many records are read at once. */
const pageSize = 500
/** So many records of each envelope are also tried with a random key before anything is written. */
const controlSample = 1000

/** Each look of a process has its number: what threads sample, they sample once a look. */
let scans = 0

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
  const each = (record: StoredRecord, opened: OpenedRecord): void => {
    if (controls-- > 0) refuseUnauthenticated(open, record, opened)
  }
  // What is tried with more than the keys is opened here; so is what needs to know which DEKs are new.
  const isPlain = options.sample === undefined && options.fresh === undefined
  const helpers = isPlain ? await open.helpers?.(total) : undefined
  const scan = scans++
  const look = (records: readonly StoredRecord[]): Tally | Promise<Tally> =>
    helpers !== undefined && controls <= 0
      ? helpers.look(envelope.name, records, scan)
      : tallyPage(records, { envelope, book, isFresh, inner, each })
  try {
    const pages = store.scan(envelope.set, pageSize)
    const tallies = inOrder(store.overlaps === true ? readAhead(pages) : pages, helpers?.width ?? 0, (page) =>
      look(page.slice(0, room())),
    )
    for await (const tally of tallies) {
      taker.addAll(tally)
      if (!(await told())) break
    }
  } finally {
    inner?.wipe()
  }
  if (joined !== undefined)
    await countJoined(open, joined, taker, { strict: options.fresh !== undefined, each: told })
  await told()
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
  opened: OpenedRecord,
): void {
  const { state } = opened
  const below = parseAll(belowWrap(envelope), state, envelope)
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
