import { DatabaseSync } from 'node:sqlite'
import { KvxError } from '../core/errors.ts'
import type { Home } from '../keyring/home.ts'
import { isoNow } from '../platform/clock.ts'
import { existsNow } from '../platform/files.ts'

/** `new-deks`: values move to new DEKs. `seal`: plaintext is sealed for the first time. */
export type RunKind = 'rotate' | 'rewrap' | 'reencrypt' | 'new-deks' | 'seal'

/**
 * `open`: work remains or the process died · `waiting`: for a backup to be confirmed · `done` ·
 * `rolled-back` · `abandoned`: undone before anything was sealed with its key, or given up by its operator.
 */
export type RunStatus = 'open' | 'waiting' | 'done' | 'rolled-back' | 'abandoned'

export type RunRow = {
  readonly id: string
  readonly kind: RunKind
  readonly status: RunStatus
  readonly key: string
  readonly fromVersion: number | null
  readonly toVersion: number
  /** `forward`, or `back` once a rollback has begun: a resume goes on in the same direction. */
  readonly direction: 'forward' | 'back'
  readonly planDigest: string
  readonly actor: string
  readonly created: string
  readonly updated: string
}

export type QuarantineRow = { readonly envelope: string; readonly record: string; readonly reason: string }

const planStep = 'approved-plan'

/** The step by which a run remembers the plan file that it carries out: a plan begins one run, once. */
export function approvedPlanStep(
  by: { readonly digest: string } | undefined,
): Readonly<Record<string, string>> {
  return by === undefined ? {} : { [planStep]: by.digest }
}

const schema = `
  CREATE TABLE IF NOT EXISTS run (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, status TEXT NOT NULL, key TEXT NOT NULL,
    fromVersion INTEGER, toVersion INTEGER NOT NULL, direction TEXT NOT NULL, planDigest TEXT NOT NULL,
    actor TEXT NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS step (
    run TEXT NOT NULL REFERENCES run(id), name TEXT NOT NULL, at TEXT NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (run, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS quarantine (
    run TEXT NOT NULL REFERENCES run(id), envelope TEXT NOT NULL, record TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (run, envelope, record)
  ) STRICT, WITHOUT ROWID;
`

/**
 * The journal of runs, `kvx.db`. It holds what the data can't say: which runs there are, what they were for and
 * how far their key steps came. `synchronous=EXTRA`: a committed step survives a power cut, the directory entry
 * of the rollback journal included.
 */
export class Journal {
  readonly #path: string
  readonly #database: DatabaseSync

  private constructor(path: string, database: DatabaseSync) {
    this.#path = path
    this.#database = database
  }

  /**
   * With `look`, for a command that writes nothing, a home without a journal stays without one: it looks empty.
   * @throws LOCKED, DISK_FULL, IO_ERROR; KEYRING_DAMAGED when the file is no journal
   */
  static open(home: Home, options: { readonly look?: boolean } = {}): Journal {
    const path = home.journal
    return guarded(path, () => {
      const isMissing = options.look === true && !existsNow(path)
      const database = new DatabaseSync(isMissing ? ':memory:' : path, { timeout: 5000 })
      database.exec('PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA; PRAGMA foreign_keys = ON')
      database.exec(schema)
      return new Journal(path, database)
    })
  }

  close(): void {
    this.#database.close()
  }

  #do<T>(work: (database: DatabaseSync) => T): T {
    return guarded(this.#path, () => work(this.#database))
  }

  #inTransaction(work: (database: DatabaseSync) => void): void {
    this.#do((database) => {
      database.exec('BEGIN IMMEDIATE')
      try {
        work(database)
        database.exec('COMMIT')
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK')
        throw error
      }
    })
  }

  /** The run and what a resume must know of it, in one transaction. */
  create(
    run: Omit<RunRow, 'created' | 'updated' | 'status' | 'direction'>,
    facts: Readonly<Record<string, string>> = {},
  ): RunRow {
    const now = isoNow()
    this.#inTransaction((database) => {
      database
        .prepare(
          `INSERT INTO run (id, kind, status, key, fromVersion, toVersion, direction, planDigest, actor, created, updated)
           VALUES (?, ?, 'open', ?, ?, ?, 'forward', ?, ?, ?, ?)`,
        )
        .run(run.id, run.kind, run.key, run.fromVersion, run.toVersion, run.planDigest, run.actor, now, now)
      const insert = database.prepare('INSERT INTO step (run, name, at, detail) VALUES (?, ?, ?, ?)')
      for (const [name, detail] of Object.entries(facts)) insert.run(run.id, name, now, detail)
    })
    return this.get(run.id)
  }

  /** @throws RUN_UNKNOWN */
  get(id: string): RunRow {
    const row = this.#do((database) => database.prepare('SELECT * FROM run WHERE id = ?').get(id))
    if (row === undefined) {
      throw new KvxError('RUN_UNKNOWN', 'there is no run of that id', { hint: '`kvx run list` shows them.' })
    }
    return { ...row } as unknown as RunRow
  }

  /** Newest first. */
  list(): readonly RunRow[] {
    const rows = this.#do((database) =>
      database.prepare('SELECT * FROM run ORDER BY created DESC, rowid DESC').all(),
    )
    return rows.map((row) => ({ ...row }) as unknown as RunRow)
  }

  /** The run that carries out the plan file of this digest, whatever became of it. */
  runOfPlan(digest: string): RunRow | undefined {
    const row = this.#do((database) =>
      database.prepare('SELECT run FROM step WHERE name = ? AND detail = ?').get(planStep, digest),
    )
    return row === undefined ? undefined : this.get(String(row['run']))
  }

  /** The digest of the plan file that a run carries out. */
  planOf(run: string): string | undefined {
    return this.steps(run).find(({ name }) => name === planStep)?.detail
  }

  /** Runs that are neither finished nor undone. */
  unfinished(): readonly RunRow[] {
    return this.list().filter(({ status }) => status === 'open' || status === 'waiting')
  }

  setStatus(id: string, status: RunStatus): void {
    this.#do((database) =>
      database.prepare('UPDATE run SET status = ?, updated = ? WHERE id = ?').run(status, isoNow(), id),
    )
  }

  turnBack(id: string): void {
    this.#do((database) =>
      database
        .prepare(`UPDATE run SET direction = 'back', status = 'open', updated = ? WHERE id = ?`)
        .run(isoNow(), id),
    )
  }

  /**
   * A rollback goes forward after all. Readers are told again, so the step of telling them is taken back.
   */
  turnForward(id: string): void {
    this.#inTransaction((database) => {
      database
        .prepare(`UPDATE run SET direction = 'forward', status = 'open', updated = ? WHERE id = ?`)
        .run(isoNow(), id)
      database.prepare(`DELETE FROM step WHERE run = ? AND name = 'activated'`).run(id)
    })
  }

  /** Remembers that a step is done; durable when this returns. Repeating it is harmless. */
  markStep(run: string, name: string, detail = ''): void {
    this.#do((database) =>
      database
        .prepare('INSERT OR REPLACE INTO step (run, name, at, detail) VALUES (?, ?, ?, ?)')
        .run(run, name, isoNow(), detail),
    )
  }

  hasStep(run: string, name: string): boolean {
    return this.#do(
      (database) =>
        database.prepare('SELECT 1 FROM step WHERE run = ? AND name = ?').get(run, name) !== undefined,
    )
  }

  steps(run: string): readonly { readonly name: string; readonly at: string; readonly detail: string }[] {
    const rows = this.#do((database) =>
      database.prepare('SELECT name, at, detail FROM step WHERE run = ? ORDER BY at, name').all(run),
    )
    return rows.map((row) => ({ ...row }) as { name: string; at: string; detail: string })
  }

  /** Replaces what the run has set aside in one transaction. */
  setQuarantine(run: string, rows: readonly QuarantineRow[]): void {
    this.#inTransaction((database) => {
      database.prepare('DELETE FROM quarantine WHERE run = ?').run(run)
      const insert = database.prepare(
        'INSERT OR REPLACE INTO quarantine (run, envelope, record, reason) VALUES (?, ?, ?, ?)',
      )
      for (const row of rows) insert.run(run, row.envelope, row.record, row.reason)
    })
  }

  quarantine(run: string): readonly QuarantineRow[] {
    const rows = this.#do((database) =>
      database
        .prepare('SELECT envelope, record, reason FROM quarantine WHERE run = ? ORDER BY envelope, record')
        .all(run),
    )
    return rows.map((row) => ({ ...row }) as QuarantineRow)
  }
}

function guarded<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw error instanceof KvxError ? error : journalError(error, path)
  }
}

/** Result codes: https://sqlite.org/rescode.html. The low byte is the primary code. */
function journalError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return error
  const look = `Look at it and at its disk: \`ls -l ${path}\`, \`df ${path}\`; then run the command again.`
  switch (error.errcode & 0xff) {
    case 5:
    case 6:
      return new KvxError('LOCKED', `the journal ${path} is locked by another process`, {
        hint: `Find it with \`fuser -v ${path}\`, let it end, then run the command again.`,
      })
    case 13:
      return new KvxError('DISK_FULL', `no space is left for the journal ${path}`, { hint: look })
    case 8:
    case 10:
    case 14:
      return new KvxError('IO_ERROR', `the journal ${path} cannot be read or written`, { hint: look })
    default:
      return new KvxError('KEYRING_DAMAGED', `the journal ${path} cannot be used`, {
        hint: 'The journal holds no key and no value: move it away, and `kvx verify` tells what lies under which version.',
      })
  }
}
