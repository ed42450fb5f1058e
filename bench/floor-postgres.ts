import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { Client } from 'pg'
import { FloorCiphers, type Keys, type Moved, type Sealed } from './floor-ciphers.ts'

type Row = Sealed & { readonly id: string }

/** As many as kvx takes at most. */
const batch = 2000

const columns = "SELECT id, encode(dek, 'hex') AS dek, encode(value, 'hex') AS value FROM other"
const swap = `UPDATE other SET dek = decode(n.next, 'hex')
  FROM unnest(string_to_array($1, ','), string_to_array($2, ','), string_to_array($3, ','), string_to_array($4, ','))
    AS n(id, dek, value, next)
  WHERE other.id = n.id::uuid AND other.dek = decode(n.dek, 'hex') AND other.value = decode(n.value, 'hex')`

/**
 * What `kvx rewrap` does to the table of the benchmark, by hand, in its copy `other`. Pages are read ahead, and a batch is opened and sealed
 * while the server writes the one before.
 * @returns how many records it moved; each of them opens with the new key alone
 */
export async function floorInPostgres(url: string, backupPath: string, keys: Keys): Promise<number> {
  const [reader, writer] = [new Client({ connectionString: url }), new Client({ connectionString: url })]
  await Promise.all([reader.connect(), writer.connect()])
  const backup = openSync(backupPath, 'wx', 0o600)
  const ciphers = new FloorCiphers(keys)
  const write = async (moved: readonly Moved<Row>[]): Promise<void> => {
    const list = (of: (one: Moved<Row>) => string): string => moved.map(of).join(',')
    const ids = list(({ row }) => row.id)
    const old = [list(({ row }) => hex(row.dek)), list(({ row }) => hex(row.value))]
    await writer.query('BEGIN')
    const { rowCount } = await writer.query(swap, [ids, ...old, list(({ next }) => hex(next))])
    if (rowCount !== moved.length) throw new Error('a record was changed')
    const again = await writer.query(`${columns} WHERE id = ANY (string_to_array($1, ',')::uuid[])`, [ids])
    const back = new Map(again.rows.map(rowOf).map((row) => [row.id, row]))
    ciphers.prove(
      moved,
      moved.map(({ row }) => back.get(row.id)),
    )
    await writer.query('COMMIT')
  }
  try {
    for await (const rows of pages(reader)) ciphers.look(rows, 'old')
    let writing: Promise<void> | undefined
    for await (const rows of pages(reader)) {
      const moved = ciphers.move(rows)
      await writing
      const lines = rows.map(({ id, dek, value }) => JSON.stringify({ id, dek: hex(dek), value: hex(value) }))
      writeSync(backup, `${lines.join('\n')}\n`)
      fsyncSync(backup)
      writing = write(moved)
    }
    await writing
    let found = 0
    for await (const rows of pages(reader)) found += ciphers.look(rows, 'next').length
    return found
  } finally {
    closeSync(backup)
    await Promise.all([reader.end(), writer.end()])
  }
}

/** The next page is asked for before this one is worked on. */
async function* pages(client: Client): AsyncGenerator<readonly Row[]> {
  const after = async (id: string): Promise<readonly Row[]> => {
    const { rows } = await client.query(`${columns} WHERE id > $1 ORDER BY id LIMIT ${batch}`, [id])
    return rows.map(rowOf)
  }
  let coming = after('00000000-0000-0000-0000-000000000000')
  for (;;) {
    const rows = await coming
    const end = rows.at(-1)
    if (end === undefined) return
    coming = after(end.id)
    yield rows
  }
}

function rowOf({ id, dek, value }: { id: string; dek: string; value: string }): Row {
  return { id, dek: Buffer.from(dek, 'hex'), value: Buffer.from(value, 'hex') }
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex')
}
