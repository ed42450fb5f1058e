import { randomBytes } from 'node:crypto'
import { copyFileSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { Installation, type Rewrapped } from './installation.ts'
import { beside, type Row, type Scale, timed } from './measure.ts'
import { fillSqlite } from './records.ts'

/** The whole command on a table, beside SQLite writing that column once and proving nothing. */
export async function inSqlite({ rows, rounds }: Scale): Promise<Row> {
  const shown = rows.toLocaleString('en')
  const names = {
    what: `\`kvx rewrap\` of ${shown} rows in SQLite: plan, backup, swaps, read-back, full scan, report`,
    beside: `one \`UPDATE\` of that column in ${shown} rows, one transaction`,
    target: 4,
  }
  return await beside(names, rounds, async () => await rewrapOnce(rows))
}

export async function rewrapOnce(rows: number): Promise<Rewrapped & { readonly besideMs: number }> {
  const kek = randomBytes(32)
  const installation = new Installation(kek, '{ sqlite: app.db }')
  try {
    const path = installation.file('app.db')
    fillSqlite(path, kek, rows)
    const bare = installation.file('bare.db')
    copyFileSync(path, bare)
    const besideMs = await timed(() => updateAll(bare))
    rmSync(bare)
    return { ...(await installation.move(rows)), besideMs }
  } finally {
    installation.close()
  }
}

function updateAll(path: string): void {
  const database = new DatabaseSync(path)
  database.exec('PRAGMA synchronous = EXTRA; BEGIN; UPDATE secrets SET dek = randomblob(60); COMMIT')
  database.close()
}
