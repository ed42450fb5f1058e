import type { PostgresServer } from '../test/support/postgres.ts'
import { rewrapOnce as onceInPostgres } from './postgres.ts'
import { rewrapOnce as onceInSqlite } from './sqlite.ts'

/** What one rewrap of so many records took. */
export type Growth = {
  readonly store: string
  readonly rows: number
  readonly seconds: number
  readonly backupBytes: number
  readonly walBytes: number | undefined
  readonly memory: number
}

export async function growth(
  server: PostgresServer | undefined,
  sizes: readonly number[],
): Promise<readonly Growth[]> {
  const measured: Growth[] = []
  for (const rows of sizes) {
    const { ms, backupBytes, memory } = await onceInSqlite(rows)
    measured.push({ store: 'SQLite', rows, seconds: ms / 1000, backupBytes, walBytes: undefined, memory })
  }
  for (const rows of server === undefined ? [] : sizes) {
    const { ms, backupBytes, memory, walBytes } = await onceInPostgres(server as PostgresServer, rows)
    measured.push({ store: 'PostgreSQL', rows, seconds: ms / 1000, backupBytes, walBytes, memory })
  }
  return measured
}

export function growthTable(measured: readonly Growth[]): string {
  const head = [
    '| store | records | seconds | µs a record | backup, bytes a record | WAL, bytes a record | most memory |',
    '|---|---:|---:|---:|---:|---:|---:|',
  ]
  const lines = measured.map(({ store, rows, seconds, backupBytes, walBytes, memory }) => {
    const each = (amount: number): string => Math.round(amount / rows).toLocaleString('en')
    const wal = walBytes === undefined ? '' : each(walBytes)
    return `| ${store} | ${rows.toLocaleString('en')} | ${seconds.toFixed(1)} | ${each(seconds * 1e6)} | ${each(backupBytes)} | ${wal} | ${Math.round(memory / 1e6)} MB |`
  })
  return [...head, ...lines].join('\n')
}

/** What more records need, by the slope between the two largest measured numbers. */
export function scaleTable(measured: readonly Growth[]): string {
  const lines = ['SQLite', 'PostgreSQL'].flatMap((store) => {
    const [small, large] = measured.filter((one) => one.store === store).slice(-2)
    if (small === undefined || large === undefined) return []
    const at = (rows: number, of: (one: Growth) => number): number =>
      of(large) + ((of(large) - of(small)) / (large.rows - small.rows)) * (rows - large.rows)
    return [1e6, 1e7, 1e8, 1e9].map((rows) => {
      const wal = large.walBytes === undefined ? '' : bytes(at(rows, ({ walBytes }) => walBytes ?? 0))
      return `| ${store} | ${rows.toLocaleString('en')} | ${time(at(rows, ({ seconds }) => seconds))} | ${bytes(at(rows, ({ backupBytes }) => backupBytes))} | ${wal} |`
    })
  })
  return ['| store | records | time | backup | WAL |', '|---|---:|---:|---:|---:|', ...lines].join('\n')
}

function bytes(amount: number): string {
  if (amount < 1e9) return `${Math.round(amount / 1e6)} MB`
  const digits = amount < 1e10 ? 1 : 0
  const places = { minimumFractionDigits: digits, maximumFractionDigits: digits }
  return `${(amount / 1e9).toLocaleString('en', places)} GB`
}

function time(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`
}
