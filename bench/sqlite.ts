import { randomBytes } from 'node:crypto'
import { copyFileSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { floorInSqlite } from './floor-sqlite.ts'
import { Installation, type Rewrapped } from './installation.ts'
import { floorRows, type Row, type Scale, timed } from './measure.ts'
import { fillSqlite } from './records.ts'

type Round = Rewrapped & { readonly bareMs: number; readonly floorMs: number }

/** The whole command on a table, beside SQLite writing that column once and beside the same laws by hand. */
export async function inSqlite({ rows, rounds }: Scale): Promise<readonly Row[]> {
  const measured: Round[] = []
  for (let round = 0; round < rounds; round++) measured.push(await roundOf(rows))
  const shown = rows.toLocaleString('en')
  const what = `\`kvx rewrap\` of ${shown} rows in SQLite: plan, backup, swaps, read-back, full scan, report`
  const bare = `one \`UPDATE\` of that column in ${shown} rows, one transaction`
  const floor = `the same laws by hand in ${shown} rows of SQLite`
  return floorRows({ what, bare, floor, target: 4 }, measured)
}

async function roundOf(rows: number): Promise<Round> {
  return await withTable(rows, async (installation, kek) => {
    const copy = installation.file('copy.db')
    const onCopy = async (work: () => unknown): Promise<number> => {
      copyFileSync(installation.file('app.db'), copy)
      const ms = await timed(work)
      rmSync(copy)
      return ms
    }
    const bareMs = await onCopy(() => updateAll(copy))
    const keys = { old: kek, next: randomBytes(32) }
    const floorMs = await onCopy(() => {
      if (floorInSqlite(copy, installation.file('floor-backup'), keys) !== rows)
        throw new Error('the floor did not move every record')
    })
    return { ...(await installation.move(rows)), bareMs, floorMs }
  })
}

export async function rewrapOnce(rows: number): Promise<Rewrapped> {
  return await withTable(rows, async (installation) => await installation.move(rows))
}

async function withTable<T>(
  rows: number,
  work: (installation: Installation, kek: Buffer) => Promise<T>,
): Promise<T> {
  const kek = randomBytes(32)
  const installation = new Installation(kek, '{ sqlite: app.db }')
  try {
    fillSqlite(installation.file('app.db'), kek, rows)
    return await work(installation, kek)
  } finally {
    installation.close()
  }
}

function updateAll(path: string): void {
  const database = new DatabaseSync(path)
  database.exec('PRAGMA synchronous = EXTRA; BEGIN; UPDATE secrets SET dek = randomblob(60); COMMIT')
  database.close()
}
