import type { Connection } from './connection.ts'
import type { Column } from './columns.ts'
import type { OrderColumn } from './table.ts'

type Proof = { readonly order: readonly OrderColumn[]; readonly staleCollation: boolean }

/**
 * The shortest unique index over plain columns of the id, of all rows. Its own order is used, so that a page
 * costs a look into the index and no sort; unless it orders text by a collation whose rules changed since the
 * index was built, or by one that calls different bytes equal: then text is ordered byte by byte.
 */
export async function readProof(
  connection: Connection,
  table: string,
  ids: readonly Column[],
): Promise<Proof | undefined> {
  const stale = collationChanged(connection.version)
  const rows = await connection.rows(
    `SELECT i.indexrelid, a.attname,
        NOT coalesce(l.collisdeterministic, true) OR k.coll <> a.attcollation AS unlike,
        coalesce(${stale}, false)
      FROM pg_catalog.pg_index i
      CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indcollation::oid[]) WITH ORDINALITY AS k(attnum, coll, n)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
      LEFT JOIN pg_catalog.pg_collation l ON l.oid = k.coll
      CROSS JOIN (SELECT * FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) d
      WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
        AND k.n <= i.indnkeyatts
      ORDER BY i.indnkeyatts, i.indexrelid, k.n`,
    [table],
  )
  const indexes = Map.groupBy(rows, ([index]) => index)
  for (const keys of indexes.values()) {
    const columns = keys.map(([, name]) => ids.find((column) => column.name === name))
    if (columns.includes(undefined)) continue
    const staleCollation = keys.some(([, , , changed]) => changed === 't')
    const order = columns.flatMap((column, index) => {
      if (column === undefined) return []
      const unlike = keys[index]?.[2] === 't'
      return [{ column, bytewise: column.kind === 'text' && (unlike || staleCollation) }]
    })
    return { order, staleCollation }
  }
  return undefined
}

/** True where the libraries of the server order text in another way than when the collation was recorded. */
function collationChanged(version: number): string {
  const own = 'l.collversion <> pg_catalog.pg_collation_actual_version(l.oid)'
  if (version < 150000) return own
  return `CASE WHEN l.collprovider = 'd' THEN d.datcollversion <> pg_catalog.pg_database_collation_actual_version(d.oid) ELSE ${own} END`
}
