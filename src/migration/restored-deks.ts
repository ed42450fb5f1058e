import type { Secret } from '../core/secret.ts'
import type { Cells, RecordId, StoredRecord } from '../stores/store.ts'
import { displayId, idKey } from './cells.ts'
import type { BackupEntry } from './ciphertext-backup.ts'
import { parseAll, stateOf } from './envelope/instance.ts'
import { dekOf, openRecord, openValues } from './envelope/open-record.ts'
import type { OpenEnvelope } from './envelope-workload.ts'
import type { RestoreTally } from './workload.ts'

const pageSize = 500

/**
 * The look before wrapped DEKs of a table of their own come back: every value that names one of them is opened with
 * it, as the value would lie there afterwards. A value that was sealed under a later DEK would open no more.
 */
export class RestoredDeks {
  readonly #open: OpenEnvelope
  readonly #deks = new Map<string, Secret>()
  readonly #values = new Map<string, Cells>()

  constructor(open: OpenEnvelope) {
    this.#open = open
  }

  async add(entry: BackupEntry): Promise<void> {
    const { envelope, store } = this.#open
    if (envelope.joined === undefined) return
    if (entry.joined === true) {
      const changed = entry.changed.map((column) => [column, entry.row[column] ?? null] as const)
      this.#values.set(idKey(entry.id), Object.fromEntries(changed))
      return
    }
    const [now] = await store.fetch(envelope.set, [entry.id])
    const before = { id: entry.id, cells: { ...now?.cells, ...entry.row } }
    const dek = keyOf(this.#open, before)
    const current = now === undefined ? undefined : keyOf(this.#open, now)
    // The same DEK under another version opens what it opened.
    if (dek !== undefined && current?.equals(dek) !== true) this.#deks.set(idKey(entry.id), dek)
    else dek?.wipe()
    current?.wipe()
  }

  async count(tally: RestoreTally): Promise<void> {
    const { envelope, store, book } = this.#open
    const { joined } = envelope
    if (joined === undefined || this.#deks.size === 0) return
    try {
      for await (const page of store.scan(joined.set, pageSize)) {
        for (const record of page) {
          const cells = { ...record.cells, ...this.#values.get(idKey(record.id)) }
          const state = stateOf(joined.set.id, { id: record.id, cells })
          const id: RecordId = joined.on.map((column) => state[column] ?? null)
          const dek = this.#deks.get(idKey(id))
          if (dek === undefined) continue
          const places = parseAll(joined.values, state, envelope)
          const reason = openValues(places, dek, { state, book })
          if (typeof reason !== 'string') continue
          tally.unreadable++
          tally.lossy++
          tally.first ??= { envelope: envelope.name, record: displayId(record.id), reason }
        }
      }
    } finally {
      for (const dek of this.#deks.values()) dek.wipe()
    }
  }
}

/** The DEK in a record's wrap, or undefined where it does not open. */
function keyOf({ envelope, book }: OpenEnvelope, record: StoredRecord): Secret | undefined {
  const opened = openRecord(envelope, record, book)
  if (opened.kind !== 'sealed') return undefined
  const key = dekOf(envelope, opened, stateOf(envelope.set.id, record))
  opened.wipe()
  return typeof key === 'string' ? undefined : key
}
