/**
 * The contract of a store: where an application keeps records that hold sealed values.
 *
 * One suite (`test/stores/store-contract.ts`) holds every driver to it.
 */

/** One column of one record exactly as the store returns it. Integers are `bigint`, reals are `number`. */
export type Cell = null | string | Uint8Array | bigint | number

/** The values of a record set's id columns, in the declared order. Unique within the record set. */
export type RecordId = readonly Cell[]

/** The columns that were asked for, by name. */
export type Cells = Readonly<Record<string, Cell>>

export type StoredRecord = { readonly id: RecordId; readonly cells: Cells }

/** The records that one envelope is about. */
export type RecordSet = {
  readonly table: string
  /** Columns that identify a record, one or more. */
  readonly id: readonly string[]
  /** Every column that opening or writing a record uses, the id columns excepted. */
  readonly columns: readonly string[]
  /**
   * The columns are what some of the records have. One of another shape has nothing there, where a declaration
   * that leads nowhere would be refused.
   */
  readonly sampled?: true
}

/** One compare-and-swap. The record changes only if every column of `expected` still holds these very bytes. */
export type Swap = {
  readonly id: RecordId
  /** Null-safe and exact in type: text never equals bytes. */
  readonly expected: Cells
  readonly change: Cells
}

/** `lost`: a column differs from what was expected. `gone`: there is no such record any more. */
export type SwapOutcome = 'changed' | 'lost' | 'gone'

export type StoreFacts = {
  readonly records: bigint
  /** What an operator should know but that stops nothing, e.g. triggers on the table. */
  readonly warnings: readonly { readonly code: string; readonly message: string }[]
}

/**
 * Called inside the transaction of a swap with the changed records as the store now holds them (all columns of
 * the record set), in the order of the swaps. When it throws, the whole batch is rolled back and the error is
 * passed on.
 */
export type ReadBack = (records: readonly StoredRecord[]) => void

/** One table, or what a driver has in its place, as `kvx discover` looks at it. */
export type CatalogueTable = {
  readonly table: string
  /** Columns that are unique together and never null, e.g. the primary key; undefined when there are none. */
  readonly id: readonly string[] | undefined
  /** Columns that a sealed value could lie in. `type` is the store's own word, for people. */
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  /** About how many records; undefined when counting is expensive. */
  readonly records: bigint | undefined
}

export type UnfitColumn = { readonly column: string; readonly why: string }

/** Swaps of one record set, for a transaction that spans several. */
export type SwapBatch = { readonly set: RecordSet; readonly swaps: readonly Swap[] }

export type Store = {
  readonly name: string
  readonly driver: string

  /**
   * Checks that the record set is what the declaration says and counts it.
   * @throws STORE_SHAPE when table or columns are missing, or the id is null or not unique somewhere
   */
  inspect(set: RecordSet): Promise<StoreFacts>

  /**
   * All records in the stable order of their id, a page at a time; memory holds one page. No lock and no
   * transaction outlives a page, so that the application can write between two pages. A record that is
   * inserted behind the cursor during the scan is not seen by it.
   */
  scan(set: RecordSet, pageSize: number): AsyncIterable<readonly StoredRecord[]>

  /**
   * Pages can be read while a swap is under way, and a swap holds up other writers for as long as its records take:
   * the engine overlaps the two, and sizes batches by time.
   */
  readonly overlaps?: boolean

  /**
   * Asks the smallest question that there is, in turn with what is under way: how long the answer takes says how busy
   * the store is. Missing where nobody answers but kvx itself.
   */
  probe?(): Promise<void>

  /** Whole records with every column of the table, for the ciphertext backup. Missing ones are left out. */
  fetch(set: RecordSet, ids: readonly RecordId[]): Promise<readonly StoredRecord[]>

  /** The same of a record that was scanned, where it is whole already: undefined where it must be fetched. */
  wholeOf?(set: RecordSet, record: StoredRecord): StoredRecord | undefined

  /**
   * One transaction: each swap is compared and written, `readBack` sees what was written, the commit is durable
   * against power loss when the call returns. Outcomes are in the order of the swaps.
   * @throws whatever `readBack` throws (nothing was written then); LOCKED when another writer holds the store
   *   for longer than the busy time-out; DISK_FULL, IO_ERROR
   */
  swap(set: RecordSet, swaps: readonly Swap[], readBack: ReadBack): Promise<readonly SwapOutcome[]>

  /**
   * One transaction over several record sets, all or nothing: when one swap is lost or gone, none is written and
   * the outcomes say which. `readBack` is called once for each batch, in their order, inside the transaction.
   * Missing where the store has no transaction over several records.
   */
  swapTogether?(
    batches: readonly SwapBatch[],
    readBack: (records: readonly StoredRecord[], batch: number) => void,
  ): Promise<readonly (readonly SwapOutcome[])[]>

  /**
   * Whether the columns could hold these cells, by their types and lengths: the first that could not, and why, in
   * words without a value. Missing where a column holds anything.
   */
  unfit?(set: RecordSet, cells: Cells): Promise<UnfitColumn | undefined>

  /** What there is besides what was declared, system tables left out. Reads no value. */
  catalogue(): Promise<readonly CatalogueTable[]>

  /** Inserts whole records that are missing. Answers for each: inserted, or present already (left alone). */
  insertMissing(
    set: RecordSet,
    records: readonly StoredRecord[],
  ): Promise<readonly ('inserted' | 'present')[]>

  /**
   * Makes sure that nothing acknowledged can be undone and that no page of the store's own files keeps an old
   * value where the driver can help it (SQLite: checkpoint of the WAL). Called at the end of a run.
   */
  settle(): Promise<void>

  close(): Promise<void>
}
