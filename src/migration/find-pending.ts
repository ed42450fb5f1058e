import { KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { Cells, StoredRecord } from '../stores/store.ts'
import type { BackupEntry } from './ciphertext-backup.ts'
import { displayId } from './cells.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import type { Envelope } from './envelope/envelope.ts'
import { isUnder, type Opened, type OpenedRecord, openPage, openRecord } from './envelope/open-record.ts'
import { type Held, heldBy } from './envelope/prove-record.ts'
import { proveRenewed, renewDek } from './envelope/renew-dek.ts'
import { proveFirst, sealFirst } from './envelope/seal-first.ts'
import { sealPage, type SealTarget, type ToSeal } from './envelope/seal-record.ts'
import type { QuarantineRow } from './journal.ts'
import type { SweepOptions } from './workload.ts'

/** A record that is to be written. `wipe` it afterwards, whatever happened. */
export type Pending = {
  readonly record: StoredRecord
  readonly change: Cells
  /** What the backup says beside the old row. */
  readonly extra?: (options: SweepOptions) => Pick<BackupEntry, 'dek' | 'wrapped'>
  readonly proof: Proof
  readonly wipe: () => void
}

/** How what the store gave back is proven: with the rest of its page, or by itself. Throws when it is not what was meant. */
type Proof = { readonly before: Held } | ((written: StoredRecord) => void)

type Opening = Pick<OpenEnvelope, 'envelope' | 'book'>

export type Look = Pick<SweepOptions, 'target' | 'fresh' | 'kind'> & { readonly unreadable: QuarantineRow[] }

/** What a run has to write of the records of a page; what does not open is named in `unreadable`. */
export function findPending(open: Opening, page: readonly StoredRecord[], look: Look): readonly Pending[] {
  if (look.kind === 'seal') return page.flatMap((record) => findPlain(open, record, look) ?? [])
  const { envelope, book } = open
  const { fresh, target } = look
  const isFresh = fresh && ((dek: Secret): boolean => fresh.has(dek))
  const opened = openPage(page, { envelope, book, isFresh })
  const kept: ToSeal[] = []
  try {
    opened.forEach((one, at) => {
      const record = page[at]
      if (record !== undefined && isPending(one, { envelope, record }, look))
        kept.push({ record, opened: one })
      else if (one.kind === 'sealed') one.wipe()
    })
    const to = { book, target }
    return fresh === undefined
      ? rewrapped(envelope, kept, to)
      : kept.map((one) => renewed(envelope, one.record, one.opened, to))
  } catch (error) {
    for (const one of kept) one.opened.wipe()
    throw error
  }
}

function isPending(
  opened: Opened,
  { envelope, record }: { readonly envelope: Envelope; readonly record: StoredRecord },
  { target, unreadable }: Look,
): opened is OpenedRecord {
  const aside = (reason: string): false => {
    unreadable.push({ envelope: envelope.name, record: displayId(record.id), reason })
    return false
  }
  if (opened.kind === 'unreadable') return aside(opened.reason)
  if (opened.kind !== 'sealed' || isUnder(opened, target)) return false
  // The plan found none: something writes them now. What is no number of kvx is never overwritten.
  return opened.labels.foreign ? aside('version-column') : true
}

function rewrapped(envelope: Envelope, page: readonly ToSeal[], to: SealTarget): readonly Pending[] {
  const changes = sealPage(envelope, page, to)
  return page.map(({ record, opened }, at) => {
    const before = heldBy(opened)
    return {
      record,
      change: changes[at] ?? {},
      proof: { before },
      wipe: () => {
        for (const { secret } of before) secret.fill(0)
      },
    }
  })
}

function renewed(envelope: Envelope, record: StoredRecord, opened: OpenedRecord, to: SealTarget): Pending {
  const made = renewDek(envelope, record, opened, to)
  return {
    record,
    change: made.change,
    extra: ({ fresh }) => ({ dek: fresh?.add(made.dek) ?? '', wrapped: made.wrapped }),
    proof: (written) => proveRenewed(envelope, written, made, to),
    wipe: () => {
      for (const one of [opened, made.dek, made.old]) one.wipe()
    },
  }
}

/** A record with plaintext in a declared place. One that does not open is told, and left alone. */
function findPlain({ envelope, book }: Opening, record: StoredRecord, look: Look): Pending | undefined {
  const opened = openRecord(envelope, record, book)
  if (opened.kind === 'sealed') opened.wipe()
  if (opened.kind === 'unreadable') {
    look.unreadable.push({ envelope: envelope.name, record: displayId(record.id), reason: opened.reason })
    return undefined
  }
  if (opened.kind === 'null' || (opened.kind === 'sealed' && !opened.bare)) return undefined
  const isForeign = opened.kind === 'sealed' ? opened.labels.foreign : opened.foreign
  if (isForeign) {
    // The plan found none: something writes them now.
    const row = { envelope: envelope.name, record: displayId(record.id), reason: 'version-column' }
    look.unreadable.push(row)
    return undefined
  }
  const to = { book, target: look.target }
  const first = sealFirst(envelope, record, to)
  if (first === undefined) throw unsealable(envelope, record)
  return {
    record,
    change: first.change,
    // A DEK that was made here: wrapped, in the home, before it seals anything.
    extra: () => (first.dek === undefined ? {} : { wrapped: first.change }),
    proof: (written) => proveFirst(envelope, written, first, to),
    wipe: () => first.dek?.wipe(),
  }
}

function unsealable({ name }: Envelope, record: StoredRecord): KvxError {
  return new KvxError(
    'LAYOUT_MISMATCH',
    `${name}: record ${displayId(record.id)} holds a number that is no text`,
    {
      hint: 'Let the application write it as text first, or take it out; then `kvx run resume`. Nothing of its batch was changed.',
    },
  )
}
