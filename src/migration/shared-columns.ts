import type { Config } from '../config/config.ts'
import { KvxError } from '../core/errors.ts'
import type { Envelope } from './envelope.ts'

/**
 * A run writes one envelope after the other. A column that one of them writes and another one writes or binds
 * would be changed under the latter's feet: its values would open no more.
 * @throws CONFIG_INVALID naming both
 */
export function refuseSharedColumns(config: Config, envelopes: readonly Envelope[]): void {
  envelopes.forEach((one, index) => {
    for (const other of envelopes.slice(index + 1)) {
      if (!sameTable(one, other)) continue
      const column = shared(one, other) ?? shared(other, one)
      if (column === undefined) continue
      throw new KvxError(
        'CONFIG_INVALID',
        `${config.where(['envelopes', other.name])}: the envelopes ${one.name} and ${other.name} both use the column ${column} of ${one.set.table}, and a run would change it for one of them alone`,
        {
          hint: 'Declare what belongs together as one envelope: `value` takes a list. Two numbers need two version columns.',
        },
      )
    }
  })
}

function sameTable(one: Envelope, other: Envelope): boolean {
  return one.place.store === other.place.store && folded(one.set.table) === folded(other.set.table)
}

function shared(writer: Envelope, user: Envelope): string | undefined {
  const used = new Set([...user.set.columns, ...user.set.id].map(folded))
  return written(writer).find((column) => used.has(folded(column)))
}

/** The columns that a run changes. Values under a DEK change only where their AAD binds the version column. */
function written({ dek, values, versionColumn }: Envelope): readonly string[] {
  const isBound = ({ aad }: Envelope['values'][number]): boolean =>
    versionColumn !== undefined &&
    (aad?.columns.has(versionColumn) === true || aad?.newColumns.has(versionColumn) === true)
  const parts = dek === undefined ? values : [dek, ...values.filter(isBound)]
  const columns = parts.flatMap((part) => part.columns.map(({ column }) => column))
  return versionColumn === undefined ? columns : [...columns, versionColumn]
}

/** SQLite and others fold the case of names; a directory's members that differ in case alone are one risk less. */
function folded(name: string): string {
  return name.toLowerCase()
}
