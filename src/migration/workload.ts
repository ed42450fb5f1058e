import type { Census, NamedRecord } from './census.ts'
import type { BackupEntry, BackupWriter } from './ciphertext-backup.ts'
import type { Events, Progress } from './events.ts'
import type { FreshDeks } from './fresh-deks.ts'
import type { QuarantineRow, RunKind } from './journal.ts'

/** What happens to sealed things: DEKs move, or values that lie directly under the key do. */
export type DataWork = 'rewrap' | 'reencrypt'

/** Records a second at most, or as many as leave an application beside the run its latency. */
export type Rate = number | 'auto'

export type CensusOptions = {
  readonly phase: Progress['phase']
  readonly events: Events
  /** The run that a signal would interrupt, for the message. */
  readonly run?: string
  /** Of a run that makes new DEKs: those that it made. */
  readonly fresh?: FreshDeks | undefined
  /** Looks at so many records only; at all of them when undefined. */
  readonly sample?: number
  /** Gets every record that does not open, a page at a time; the census itself names the first ones only. */
  readonly unreadable?: (named: readonly NamedRecord[]) => Promise<void>
}

export type SweepOptions = {
  /** The version that everything shall lie under. */
  readonly target: number
  readonly run: string
  /** `runs/ID` under the home. */
  readonly runDirectory: string
  readonly backup: BackupWriter
  /** Records in one transaction; as many as its time allows when undefined. */
  readonly batch: number | undefined
  /** Without a limit when undefined. */
  readonly rate: Rate | undefined
  readonly events: Events
  readonly total: number
  readonly kind: RunKind
  /** Of a run that makes new DEKs: those that it made so far. */
  readonly fresh?: FreshDeks | undefined
}

export type SweepResult = {
  readonly seen: number
  readonly changed: number
  /** Lost to a concurrent writer or gone meanwhile: the next sweep looks at them again. */
  readonly lost: number
  readonly unreadable: readonly QuarantineRow[]
}

/** What `run restore` brought back, or would. Counts are records; the last two are found by a look alone. */
export type CiphertextRestore = {
  /** Holds the bytes of before the run again. */
  readonly restored: number
  /** Was missing and was brought back whole. */
  readonly inserted: number
  /** Held the bytes of before already. */
  readonly same: number
  /** Was written by something else since; overwritten only with an accepted loss. */
  readonly changedSince: number
  /** Its old bytes open with no key of this home. */
  readonly unreadable: number
}

/** Counts while a restore goes on, and what decides whether it may. */
export type RestoreTally = { -readonly [Name in keyof CiphertextRestore]: number } & {
  /** Records that need an accepted loss, for one reason or both. */
  lossy: number
  /** The first one whose old bytes do not open. */
  first: QuarantineRow | undefined
  /** Versions of the key that the old bytes need. */
  readonly versions: Set<number>
}

export function emptyRestore(): RestoreTally {
  const counts = { restored: 0, inserted: 0, same: 0, changedSince: 0, unreadable: 0 }
  return { ...counts, lossy: 0, first: undefined, versions: new Set() }
}

/** A restore that takes the entries of its workload one after the other, each record once. */
export type Restoring = {
  add(entry: BackupEntry): Promise<void>
  end(): Promise<RestoreTally>
}

export type RestoreOptions = {
  readonly runDirectory: string
  readonly run: { readonly id: string; readonly planDigest: string }
  readonly write: boolean
  /** Overwrite what something else wrote since. */
  readonly overwrite: boolean
  /** Takes the bytes that are about to be overwritten; nothing is made before the first of them. */
  readonly overwritten: Pick<BackupWriter, 'append'>
  /** Records of this workload in the backup, for the progress. */
  readonly total: number
  readonly events: Events
}

/** Where sealed things lie that need a key: what `retire` and `destroy` must have looked at. */
export type Place = {
  /** The database file or the directory. */
  readonly store: string
  /** The table, the pattern of files, or the vault. */
  readonly table: string
  /** The columns that lie directly under the key. */
  readonly columns: readonly string[]
}

/**
 * Sealed things under one key that the engine looks at and moves: the records of an envelope, or the files of a
 * vault. Plan, sweeps, verify, retire and destroy know nothing else of them.
 */
export type Workload = {
  readonly name: string
  /** The configured key at the outermost level. */
  readonly key: string
  readonly work: DataWork
  /** The declaration as data, the same for the same meaning: part of a plan's digest. */
  readonly normalised: Readonly<Record<string, unknown>>
  /** Whether its values lie under DEKs in the same records, so that these can be replaced. */
  readonly renewable: boolean
  /** Whether one DEK of it belongs to several records. */
  readonly sharesDeks: boolean
  /** Whether things that are not sealed may lie among the sealed ones. */
  readonly plaintext: boolean
  readonly place: Place

  /**
   * Whether it could be sealed under the target as it is declared. Asked before anything is written.
   * @throws CONFIG_INVALID, KEY_MALFORMED
   */
  requireSealable(target: number, kind: RunKind): void

  /**
   * Whether the store has room for what a first sealing would write. Reads everything once.
   * @throws STORE_SHAPE
   */
  requireRoom?(target: number): Promise<void>

  /** Opens everything once and counts it by the version that it needs. Writes nothing. */
  census(options: CensusOptions): Promise<Census>

  /**
   * One pass that moves what needs another version than the target. Old bytes are in the run's backup, on the
   * medium, before they are replaced; what was written is read back and proven before it counts.
   */
  sweep(options: SweepOptions): Promise<SweepResult>

  /** Brings back what a run replaced, or with `write: false` counts what that would do. */
  restore(options: RestoreOptions): Restoring

  /** What an operator should know of the place and that stops nothing. */
  warnings(): Promise<readonly { readonly code: string; readonly message: string }[]>

  /** Makes sure that nothing acknowledged can be undone. Called at the end of a run. */
  settle(): Promise<void>
}
