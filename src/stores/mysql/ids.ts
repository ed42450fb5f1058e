import type { RecordId, RecordSet } from '../store.ts'
import { encodeCell, matches, quoted } from './columns.ts'
import type { Values } from './connection.ts'
import { columnOf, type Table } from './table.ts'

/** SQL with the texts of its parameters; a value never becomes part of the text. */
export type Statement = { readonly sql: string; readonly values: Values }

/** The texts of an id; undefined when no record of the table can have it. */
export function encodeId(table: Table, set: RecordSet, id: RecordId): readonly string[] | undefined {
  const texts = set.id.map((name, index) => encodeCell(columnOf(table, name).kind, id[index] ?? null))
  return texts.every((text) => typeof text === 'string') ? texts : undefined
}

/**
 * True for the one record with this id: by the column's own equality, which an index knows, and byte by byte
 * besides, since a collation calls different texts equal.
 */
export function matchesId(table: Table, set: RecordSet, texts: readonly string[]): Statement {
  const parts = set.id.map((name) => {
    const column = columnOf(table, name)
    return `${quoted(name)} = ${column.key ?? '?'} AND ${matches(column)}`
  })
  return { sql: `(${parts.join(' AND ')})`, values: texts.flatMap((text) => [text, text]) }
}

/** How many records one statement names. */
const perStatement = 200

/** Records by their ids, a statement for some hundred of them. */
export function* idChunks<T extends { readonly texts: readonly string[] }>(
  table: Table,
  set: RecordSet,
  items: readonly T[],
): Generator<Statement & { readonly items: readonly T[] }> {
  for (let from = 0; from < items.length; from += perStatement) {
    const part = items.slice(from, from + perStatement)
    const wheres = part.map(({ texts }) => matchesId(table, set, texts))
    yield {
      items: part,
      sql: wheres.map(({ sql }) => sql).join(' OR '),
      values: wheres.flatMap(({ values }) => values),
    }
  }
}
