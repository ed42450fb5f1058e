import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { pgbenchMissing } from '../../bench/throttle.ts'
import { root } from '../support/cli.ts'
import { postgresMissing } from '../support/postgres.ts'

type Measured = {
  readonly rows: readonly { readonly what: string; readonly ratio: number; readonly ms: number }[]
  readonly growth: readonly {
    readonly store: string
    readonly rows: number
    readonly backupBytes: number
    readonly memory: number
    readonly walBytes?: number
  }[]
}

/** kvx beside something bare and beside the floor, and the floor beside what is bare. */
function besideFloor(kvx: string, floor: string): readonly string[] {
  return [kvx, kvx, floor]
}

// The benchmark itself ends with an error when a rewrap did not move and prove every record: see bench/installation.ts.
test('the quick benchmark does all of its work and says what each part took', () => {
  const text = execFileSync(
    process.execPath,
    [join(root, 'bench/run.ts'), '--quick', '--json', '--rows', '400'],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const { rows, growth } = JSON.parse(text) as Measured
  const stores = postgresMissing() === undefined ? ['SQLite', 'PostgreSQL'] : ['SQLite']
  expect(rows.map(({ what }) => what.replaceAll(/\b\d[\d,]* /g, 'N '))).toEqual([
    '`kvx --version`',
    '`kvx --help`',
    '`kvx check FILE`',
    '`kvx keygen NAME --dir D`',
    ...['', ', by the two threads of `--workers 2`'].map(
      (threads) => `N records opened through the chain and wrapped again, in memory${threads}`,
    ),
    'N openings and N seals by `node:crypto` alone, by two threads',
    ...Array<string>(spawnSync('age', ['--version']).error === undefined ? 2 : 1).fill(
      'reencrypt a vault of N MiB',
    ),
    ...besideFloor(
      '`kvx reencrypt` of N files of N KiB: plan, backup, replacement, read-back, full scan, report',
      'the same laws by hand in N files of N KiB',
    ),
    ...stores.flatMap((store) => {
      const kvx = `\`kvx rewrap\` of N rows in ${store}: plan, backup, swaps, read-back, full scan, report`
      const floor = `the same laws by hand in N rows of ${store}`
      return store === 'SQLite' ? besideFloor(kvx, floor) : [...besideFloor(kvx, floor), kvx, floor]
    }),
    ...(stores.length === 2 && pgbenchMissing() === undefined
      ? ['', ' --rate auto'].map(
          (rate) => `p99 of the transactions of \`pgbench\` beside \`kvx rewrap${rate}\` of N rows`,
        )
      : []),
  ])
  for (const { what, ratio, ms } of rows) expect([what, ratio > 0 && ms > 0]).toEqual([what, true])
  expect(growth.map(({ store, rows: records }) => [store, records])).toEqual(
    stores.flatMap((store) => [
      [store, 100],
      [store, 400],
    ]),
  )
  for (const { store, rows: records, backupBytes, memory, walBytes } of growth) {
    // The old row with its two sealed columns of 60 and 76 bytes lies in the backup, as text.
    expect(backupBytes / records).toBeGreaterThan(200)
    expect(memory).toBeGreaterThan(10_000_000)
    if (store === 'PostgreSQL') expect(walBytes).toBeGreaterThan(backupBytes / 4)
  }
})
