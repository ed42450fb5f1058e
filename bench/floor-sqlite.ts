import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { FloorCiphers, type Keys, type Sealed } from './floor-ciphers.ts'

type Row = Sealed & { readonly id: number }

/** As many as kvx takes at most. */
const batch = 2000

/**
 * What `kvx rewrap` does to the table of the benchmark, by hand.
 * @returns how many records it moved; each of them opens with the new key alone
 */
export function floorInSqlite(path: string, backupPath: string, keys: Keys): number {
  const database = new DatabaseSync(path, { returnArrays: true })
  const backup = openSync(backupPath, 'wx', 0o600)
  const ciphers = new FloorCiphers(keys)
  try {
    database.exec('PRAGMA synchronous = EXTRA; PRAGMA journal_mode = DELETE')
    // Digits: each blob would be a buffer of its own outside of the heap.
    const columns = 'SELECT id, hex(dek), hex(value) FROM secrets WHERE id'
    const page = database.prepare(`${columns} > ? ORDER BY id LIMIT ${batch}`)
    const one = database.prepare(`${columns} = ?`)
    const swap = database.prepare('UPDATE secrets SET dek = ? WHERE id = ? AND dek = ? AND value = ?')
    for (const rows of pages(page)) ciphers.look(rows, 'old')
    for (const rows of pages(page)) {
      const moved = ciphers.move(rows)
      const lines = rows.map((row) =>
        JSON.stringify({ id: row.id, dek: hex(row.dek), value: hex(row.value) }),
      )
      writeSync(backup, `${lines.join('\n')}\n`)
      fsyncSync(backup)
      database.exec('BEGIN IMMEDIATE')
      for (const { row, next } of moved)
        if (swap.run(next, row.id, row.dek, row.value).changes !== 1) throw new Error('a record was changed')
      ciphers.prove(
        moved,
        moved.map(({ row }) => rowOf(one.get(row.id))),
      )
      database.exec('COMMIT')
    }
    let found = 0
    for (const rows of pages(page)) found += ciphers.look(rows, 'next').length
    return found
  } finally {
    closeSync(backup)
    database.close()
  }
}

function* pages(statement: StatementSync): Generator<readonly Row[]> {
  for (let last = 0; ; ) {
    const rows = statement.all(last).map(rowOf)
    const end = rows.at(-1)
    if (end === undefined) return
    yield rows
    last = end.id
  }
}

function rowOf(cells: unknown): Row {
  const [id, dek, value] = cells as [number, string, string]
  return { id, dek: Buffer.from(dek, 'hex'), value: Buffer.from(value, 'hex') }
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex')
}
