import type { Discovery, Find } from '../migration/discover/find.ts'
import { columns, count } from './columns.ts'
import { colours, type Stream } from './colours.ts'

/** The data of `kvx.discover/1`. */
export function discoverData({ finds, unseen, tables, records }: Discovery, configuration?: string) {
  return {
    finds: finds.map((find) => ({
      store: find.store,
      table: find.table,
      columns: find.columns,
      records: find.records === undefined ? null : String(find.records),
      looked: find.looked,
      looks: find.looks,
      opens: find.opens,
      level: find.level,
      confidence: find.confidence,
      belongsTo: find.belongsTo ?? null,
      declaration: find.declaration ?? null,
      notes: find.notes,
    })),
    unseen: unseen.map(({ store, table, reason }) => ({ store, table: table ?? null, reason })),
    tables,
    records,
    configuration: configuration ?? null,
  }
}

/** A line for each find, what it is, and at the end what to put into kvx.yaml. */
export function discoverLines(
  { finds, tables, records }: Discovery,
  stream: Stream,
  configuration?: string,
): readonly string[] {
  const looked = `looked at ${count(records)} records in ${count(tables)} ${tables === 1 ? 'table' : 'tables'}`
  if (finds.length === 0) return [`${looked}: nothing looks sealed that is not declared`]
  const { dim } = colours(stream)
  const heads = columns(finds.map((find) => [placeOf(find), opensText(find), find.confidence]))
  return [
    ...finds.flatMap((find, at) => [
      heads[at] ?? '',
      dim(`  ${find.looks}; ${count(find.looked)} looked at${ofRecords(find)}`),
      ...(find.level === 'below' && find.belongsTo !== undefined
        ? [`  opens with the wrapped key of its record: it belongs to ${find.belongsTo}`]
        : []),
      ...find.notes.map((note) => `  ${note}`),
    ]),
    '',
    `${looked}: ${count(finds.length)} ${finds.length === 1 ? 'find is' : 'finds are'} not declared`,
    ...declarationLines(finds, configuration),
  ]
}

function declarationLines(finds: readonly Find[], configuration: string | undefined): readonly string[] {
  if (configuration !== undefined) return ['', 'kvx.yaml that declares them:', '', configuration.trimEnd()]
  const declarations = finds.flatMap(({ declaration }) => declaration ?? [])
  if (declarations.length === 0) return []
  return ['', 'Put below `envelopes:` in kvx.yaml:', '', ...declarations.map((text) => text.trimEnd())]
}

/** `app.secrets.value`, with names of the application that hold no sign which could steer a terminal. */
function placeOf({ store, table, columns: names }: Find): string {
  return `${store} ${shown(table)} ${names.map(shown).join(' + ')}`
}

function shown(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, (sign) => `\\u{${(sign.codePointAt(0) ?? 0).toString(16)}}`)
}

function ofRecords({ records }: Find): string {
  return records === undefined ? '' : ` of ${count(records)} records`
}

function opensText({ opens }: Find): string {
  const subjects = Object.entries(opens).map(([subject, values]) => `${subject} ${count(values)}`)
  return subjects.length === 0 ? 'opens with no known key' : `opens: ${subjects.join(', ')}`
}
