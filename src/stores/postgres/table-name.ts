import { quoted } from './columns.ts'

/** A table as the configuration writes it. Without a schema the one of the store, or the search path decides. */
export type TableName = { readonly schema: string | undefined; readonly name: string }

const part = /"(?:[^"]|"")+"|[^".]+/y

/**
 * What a written name can mean, in this order: `a.b` is table b of schema a, else a table of that very name. In
 * double quotes, as SQL has them, a name is taken as it stands; letter case always counts.
 */
export function readings(written: string): readonly TableName[] {
  const literal = { schema: undefined, name: written }
  const parts = splitName(written)
  if (parts === undefined) return [literal]
  const [first = '', second] = parts
  const split = second === undefined ? { schema: undefined, name: first } : { schema: first, name: second }
  return split.name === written ? [literal] : [split, literal]
}

function splitName(written: string): readonly string[] | undefined {
  const parts: string[] = []
  for (let at = 0; at <= written.length; at++) {
    part.lastIndex = at
    const found = part.exec(written)?.[0]
    if (found === undefined) return undefined
    parts.push(found.startsWith('"') ? found.slice(1, -1).replaceAll('""', '"') : found)
    at += found.length
    if (at < written.length && written[at] !== '.') return undefined
  }
  return parts.length <= 2 ? parts : undefined
}

/** The name as the configuration can write it, with its schema where the search path would not find it. */
export function writtenName(schema: string | undefined, name: string): string {
  return schema === undefined ? writtenPart(name) : `${writtenPart(schema)}.${writtenPart(name)}`
}

function writtenPart(name: string): string {
  return /^[^".]+$/.test(name) ? name : quoted(name)
}
