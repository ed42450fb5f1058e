import { requireFirstSealable } from './envelope/seal-first.ts'
import { requireSealable } from './envelope/sealable.ts'
import { restoreRecords } from './restore-records.ts'
import type { Envelope } from './envelope/envelope.ts'
import type { KeyBook } from './envelope/key-book.ts'
import { takeCensus } from './scan.ts'
import type { Store } from '../stores/store.ts'
import { sweepOnce } from './sweep.ts'
import { sweepGroups } from './sweep-groups.ts'
import type { Workload } from './workload.ts'

/** An envelope with its store and its keys, open. */
export type OpenEnvelope = { readonly envelope: Envelope; readonly store: Store; readonly book: KeyBook }

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
    renewable:
      envelope.joined === undefined
        ? envelope.wraps.length > 0 && envelope.values.length > 0
        : store.swapTogether !== undefined,
    requireSealable: (target, kind) => {
      requireSealable(envelope, target, book)
      if (kind === 'seal') requireFirstSealable(envelope)
    },
    census: async (options) => takeCensus(open, options),
    sweep: async (options) =>
      options.kind === 'new-deks' && envelope.joined !== undefined
        ? sweepGroups(open, envelope.joined, options)
        : sweepOnce(open, options),
    restore: (options) => restoreRecords(open, options),
    warnings: async () => (await store.inspect(envelope.set)).warnings,
    settle: async () => store.settle(),
  }
}
