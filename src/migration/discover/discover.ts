import type { StoreConfig } from '../../config/stores.ts'
import { storePlace } from '../../config/stores.ts'
import { isKvxError } from '../../core/errors.ts'
import type { CatalogueTable, Store } from '../../stores/store.ts'
import type { Events } from '../events.ts'
import type { Declared } from './declared.ts'
import { examineTable } from './examine.ts'
import type { Discovery, Find, TrialKey, Unseen } from './find.ts'
import { sampleTable, type Sample } from './sample.ts'
import { TrialKeys } from './trial.ts'

export type DiscoverInput = {
  readonly stores: readonly { readonly name: string; readonly config: StoreConfig; readonly store: Store }[]
  readonly declared: readonly Declared[]
  /** Names that envelopes have already. */
  readonly envelopes: readonly string[]
  /** Every known version of every known key. They stay the caller's. */
  readonly keys: readonly TrialKey[]
  /** So many values of each column are looked at. */
  readonly sample: number
  readonly events: Events
}

/**
 * Looks where nothing was declared for values that look sealed, and tries the known keys on them. Reads only, a
 * sample of each table. A find that a key opens is proven: with AEADs nothing opens by chance.
 * @throws what stores throw when they are read; INTERRUPTED
 */
export async function discover(input: DiscoverInput): Promise<Discovery> {
  const keys = new TrialKeys(input.keys)
  const finds: Find[] = []
  const unseen: Unseen[] = []
  const taken = new Set(input.envelopes)
  const known = input.declared.flatMap(({ envelope, layouts }) =>
    layouts.map((layout) => ({ envelope, layout })),
  )
  let [tables, records] = [0, 0]
  try {
    for (const one of input.stores) {
      const catalogue = await one.store.catalogue()
      for (const [at, table] of catalogue.entries()) {
        const sample = await sampleOf(one.name, one.store, { table, wanted: input.sample, unseen })
        if (sample === undefined) continue
        tables++
        records += sample.looked
        const declared = input.declared.filter(({ place }) => place === storePlace(one.config))
        const found = await examineTable({ ...one, sample: { ...sample, known }, keys, declared, taken })
        finds.push(...found)
        const envelope = `${one.name} ${table.table}`
        input.events.progress({ phase: 'discover', envelope, done: at + 1, total: catalogue.length })
      }
    }
  } finally {
    keys.wipe()
  }
  return { finds, unseen, tables, records }
}

type Wanted = { readonly table: CatalogueTable; readonly wanted: number; readonly unseen: Unseen[] }

/** A table that cannot be read as it is stands among the unseen ones: nothing is proven about it. */
async function sampleOf(
  name: string,
  store: Store,
  { table, wanted, unseen }: Wanted,
): Promise<Sample | undefined> {
  if (table.columns.length === 0) return undefined
  if (table.id === undefined && store.driver !== 'sqlite') {
    const reason = 'no columns of it are unique and never null, so its records cannot be read one by one'
    unseen.push({ store: name, table: table.table, reason })
    return undefined
  }
  try {
    return await sampleTable(store, table, wanted)
  } catch (error) {
    if (!isKvxError(error, 'STORE_SHAPE')) throw error
    unseen.push({ store: name, table: table.table, reason: error.message })
    return undefined
  }
}
