import { requireFirstSealable } from './envelope/seal-first.ts'
import { requireRenewable, requireSealable } from './envelope/sealable.ts'
import { restoreRecords } from './restore-records.ts'
import type { Envelope } from './envelope/envelope.ts'
import type { KeyBook } from './envelope/key-book.ts'
import { requireRoom } from './envelope/room.ts'
import type { Helpers } from './threads/helpers.ts'
import { takeCensus } from './scan.ts'
import type { Store } from '../stores/store.ts'
import { sweepOnce } from './sweep.ts'
import { sweepGroups } from './sweep-groups.ts'
import { sweepSharedDeks } from './sweep-shared-deks.ts'
import type { SweepOptions, SweepResult, Workload } from './workload.ts'

/** An envelope with its store and its keys, open. */
export type OpenEnvelope = {
  readonly envelope: Envelope
  readonly store: Store
  readonly book: KeyBook
  /** Of a store whose application goes first: what it is owed before each batch that is written. */
  readonly rest?: (() => Promise<void>) | undefined
  /** Threads for so many records; undefined where they would not pay, or there are none. */
  readonly helpers?: (records: number) => Promise<Helpers | undefined>
}

/** The records of an envelope as the engine sees them. */
export function envelopeWorkload(open: OpenEnvelope): Workload {
  const { envelope, store, book } = open
  return {
    name: envelope.name,
    key: envelope.key,
    work: envelope.wraps.length === 0 ? 'reencrypt' : 'rewrap',
    normalised: envelope.normalised,
    plaintext: envelope.plaintext,
    place: envelope.place,
    sharesDeks: envelope.joined !== undefined || envelope.groupBy.length > 0,
    renewable:
      envelope.joined === undefined
        ? envelope.wraps.length > 0 &&
          envelope.values.length > 0 &&
          (envelope.groupBy.length === 0 || store.swapTogether !== undefined)
        : store.swapTogether !== undefined,
    requireSealable: (target, kind) => {
      requireSealable(envelope, target, book)
      if (kind === 'seal') requireFirstSealable(envelope)
      if (kind === 'new-deks') requireRenewable(envelope)
    },
    requireRoom: async (target) => requireRoom(open, target),
    census: async (options) => takeCensus(open, options),
    sweep: async (options) => sweep(open, options),
    restore: (options) => restoreRecords(open, options),
    warnings: async () => (await store.inspect(envelope.set)).warnings,
    settle: async () => store.settle(),
  }
}

/** New DEKs change together with all that they seal, where that is more than one record. */
async function sweep(open: OpenEnvelope, options: SweepOptions): Promise<SweepResult> {
  const { joined, groupBy } = open.envelope
  if (options.kind === 'new-deks' && joined !== undefined) return sweepGroups(open, joined, options)
  if (options.kind === 'new-deks' && groupBy.length > 0) return sweepSharedDeks(open, options)
  return sweepOnce(open, options)
}
