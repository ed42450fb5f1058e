import type { Declarations } from '../../config/config.ts'
import { KvxError } from '../../core/errors.ts'
import { boundColumns, columnsOf, underKey, type Envelope } from './envelope.ts'

/**
 * A run writes one envelope after the other. A column that one of them writes and another one writes or binds
 * would be changed under the latter's feet: its values would open no more.
 * @param everything a run that writes the values too, which a rewrap leaves as they are
 * @throws CONFIG_INVALID naming both
 */
export function refuseSharedColumns(
  config: Declarations,
  envelopes: readonly Envelope[],
  everything = false,
): void {
  envelopes.forEach((one, index) => {
    for (const other of envelopes.slice(index + 1)) {
      const found = shared(one, other, everything) ?? shared(other, one, everything)
      if (found === undefined) continue
      throw new KvxError(
        'CONFIG_INVALID',
        `${config.where(['envelopes', other.name])}: the envelopes ${one.name} and ${other.name} both use the column ${found.column} of ${found.table}, and a run would change it for one of them alone`,
        {
          hint: 'Declare what belongs together as one envelope: `value` takes a list. Two numbers need two version columns.',
        },
      )
    }
  })
}

function shared(
  writer: Envelope,
  user: Envelope,
  everything: boolean,
): { readonly table: string; readonly column: string } | undefined {
  if (writer.place.store !== user.place.store) return undefined
  const { table } = writer.set
  const sets = [user.set, ...(user.joined === undefined ? [] : [user.joined.set])]
  for (const set of sets.filter((one) => folded(one.table) === folded(table))) {
    const used = new Set([...set.columns, ...set.id].map(folded))
    const column = written(writer, everything).find((one) => used.has(folded(one)))
    if (column !== undefined) return { table, column }
  }
  return undefined
}

/** The columns that a run changes. What lies below the outermost level changes only where it binds one of them. */
function written(envelope: Envelope, everything: boolean): readonly string[] {
  const labels = [
    ...(envelope.version === undefined ? [] : [envelope.version.column]),
    ...envelope.sets.map(({ column }) => column),
  ]
  const outer = underKey(envelope)
  const lower = [...envelope.wraps, ...envelope.values].filter((sealed) => !outer.includes(sealed))
  const first = [...outer.flatMap(columnsOf), ...labels]
  const moved = lower.filter(
    ({ forms }) =>
      everything ||
      forms.length > 1 ||
      forms.some((form) => [...boundColumns(form)].some((column) => first.includes(column))),
  )
  return [...first, ...moved.flatMap(columnsOf)]
}

/** SQLite and others fold the case of names; a directory's members that differ in case alone are one risk less. */
function folded(name: string): string {
  return name.toLowerCase().replace(/^public\./, '')
}
