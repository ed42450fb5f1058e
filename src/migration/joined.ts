import type { Secret } from '../core/secret.ts'
import type { RecordId, StoredRecord } from '../stores/store.ts'
import { displayId, idKey } from './cells.ts'
import type { CensusTaker } from './census.ts'
import type { Joined } from './envelope/envelope.ts'
import { parseAll, stateOf } from './envelope/instance.ts'
import { dekOf, openRecord, openValues, type Labels, type Opened } from './envelope/open-record.ts'
import type { UnreadableReason } from './envelope/reasons.ts'
import type { OpenEnvelope } from './envelope-workload.ts'

const pageSize = 500

/** A wrapped DEK that was opened for the values of one page. */
type OpenDek = {
  readonly key: Secret
  readonly versions: ReadonlySet<number>
  readonly labels: Labels
  /** Whether its id is spelt as the values spell it. */
  readonly isExact: boolean
}

/**
 * Opens the values that lie in another record set than their wrapped DEKs, a page at a time: each through the DEK
 * that its record names.
 * @param options `each` is called between two pages. `strict`: values have to spell the id of their DEK as it is
 *   stored, since a run will look for them by it
 */
export async function countJoined(
  open: OpenEnvelope,
  joined: Joined,
  taker: CensusTaker,
  options: { readonly strict: boolean; readonly each: () => Promise<boolean> },
): Promise<void> {
  for await (const page of open.store.scan(joined.set, pageSize)) {
    if (!(await options.each())) return
    const deks = await openDeks(open, joined, page)
    try {
      for (const record of page) {
        const opened = openJoined(open, joined, record, { deks, strict: options.strict })
        taker.add(opened, () => `${joined.set.table} ${displayId(record.id)}`)
      }
    } finally {
      for (const dek of deks.values()) if (typeof dek !== 'string') dek.key.wipe()
    }
  }
}

/** The DEKs that a page of values names, by their ids. */
async function openDeks(
  { envelope, store, book }: OpenEnvelope,
  joined: Joined,
  page: readonly StoredRecord[],
): Promise<ReadonlyMap<string, OpenDek | UnreadableReason>> {
  const ids = new Map<string, RecordId>()
  for (const record of page) {
    const id = dekId(joined, record)
    if (id !== undefined) ids.set(idKey(id), id)
  }
  const deks = new Map<string, OpenDek | UnreadableReason>()
  for (const { id, cells } of await store.fetch(envelope.set, [...ids.values()])) {
    const opened = openRecord(envelope, { id, cells }, book)
    if (opened.kind === 'unreadable') deks.set(idKey(id), opened.reason)
    if (opened.kind !== 'sealed') continue
    const key = dekOf(envelope, opened, stateOf(envelope.set.id, { id, cells }))
    opened.wipe()
    const { versions, labels } = opened
    deks.set(
      idKey(id),
      typeof key === 'string' ? key : { key, versions, labels, isExact: isExact(envelope, { id, cells }) },
    )
  }
  return deks
}

/** A database may find a row by an id of another type or spelling. */
function isExact({ set }: OpenEnvelope['envelope'], { id, cells }: StoredRecord): boolean {
  const own = set.id.map((column, index) => cells[column] ?? id[index] ?? null)
  return idKey(own) === idKey(id)
}

function dekId(joined: Joined, record: StoredRecord): RecordId | undefined {
  const state = stateOf(joined.set.id, record)
  const id = joined.on.map((column) => state[column] ?? null)
  return id.includes(null) ? undefined : id
}

function openJoined(
  { envelope, book }: OpenEnvelope,
  joined: Joined,
  record: StoredRecord,
  {
    deks,
    strict,
  }: { readonly deks: ReadonlyMap<string, OpenDek | UnreadableReason>; readonly strict: boolean },
): Opened {
  const state = stateOf(joined.set.id, record)
  const values = parseAll(joined.values, state, envelope)
  if (values.every((found) => found === 'null')) return { kind: 'null' }
  if (values.every((found) => found === 'null' || found === 'plaintext'))
    return { kind: 'plaintext', foreign: false }
  const id = dekId(joined, record)
  const dek = id === undefined ? undefined : deks.get(idKey(id))
  if (dek === undefined) return { kind: 'unreadable', reason: 'dek-missing' }
  if (typeof dek === 'string') return { kind: 'unreadable', reason: dek }
  if (strict && !dek.isExact) return { kind: 'unreadable', reason: 'dek-missing' }
  if (!envelope.plaintext && values.includes('plaintext')) return { kind: 'unreadable', reason: 'not-sealed' }
  const result = openValues(values, dek.key, { state, book })
  if (typeof result === 'string') return { kind: 'unreadable', reason: result }
  return {
    kind: 'sealed',
    state,
    versions: dek.versions,
    labels: dek.labels,
    bare: values.includes('plaintext'),
    under: [],
    wipe: () => undefined,
  }
}
