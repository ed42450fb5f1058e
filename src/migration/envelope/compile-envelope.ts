import type { Declarations } from '../../config/config.ts'
import type { EnvelopeConfig, SealedConfig, VersionConfig, WrappedConfig } from '../../config/envelopes.ts'
import { storePlace, storeTerms, type StoreConfig } from '../../config/stores.ts'
import { compileEach } from '../../core/layout/json-each.ts'
import { compileDerivation, type Derivation } from '../../core/layout/derivation.ts'
import { compileLayout, type Layout } from '../../core/layout/layout.ts'
import { compileForm, invalid, located, type FormContext, type Member } from './compile-form.ts'
import { boundColumns, columnsOf, underKey, type Envelope, type Form, type Sealed } from './envelope.ts'
import type { ColumnLabel, VersionNames } from './labels.ts'
import { refuseSharedColumns } from './shared-columns.ts'

/**
 * The declared envelopes, all or the named ones, in the order of the configuration.
 * @throws LAYOUT_INVALID, CONFIG_INVALID with the place in the file, also when two of them change the same column
 */
export function compileEnvelopes(config: Declarations, names: readonly string[] = []): readonly Envelope[] {
  const all = Object.keys(config.envelopes).map((name) => compileEnvelope(config, name))
  refuseSharedColumns(config, all)
  return all.filter(({ name }) => names.length === 0 || names.includes(name))
}

function compileEnvelope(config: Declarations, name: string): Envelope {
  const declared = config.envelopes[name]
  if (declared === undefined) throw new TypeError('the name was checked')
  const member: Member = { config, at: ['envelopes', name] }
  const { dek, kek } = declared
  if (dek === undefined && declared.value === undefined)
    throw invalid(member, 'value', 'nothing sealed is named', 'Say `value:`, or `dek:`, or both.')
  if (kek !== undefined && dek === undefined)
    throw invalid(member, 'kek', 'a KEK wraps a DEK, and none is named', 'Say `dek:`, or call the KEK so.')
  const ofKey = keyDerivation(config, declared.key)
  const values = compileValues(member, declared, dek === undefined ? ofKey : undefined)
  const wraps = [
    ...(kek === undefined ? [] : [compileWrap(below(member, 'kek'), kek, { values, derive: ofKey })]),
    ...(dek === undefined
      ? []
      : [compileWrap(below(member, 'dek'), dek, { values, derive: kek === undefined ? ofKey : undefined })]),
  ]
  const version = compileVersion(below(member, 'version'), declared.version)
  const sets = Object.entries(declared.set).map(([column, source]) => ({
    column,
    value: located(below(member, 'set'), column, () => compileDerivation(source)),
  }))
  const rest = { name, store: declared.store, key: declared.key, wraps, version, sets }
  return placed(member, declared, { ...rest, values, plaintext: declared.plaintext })
}

/** The record set that a run rewrites, and the other one where values are joined to their wrapped DEKs. */
function placed(
  member: Member,
  declared: EnvelopeConfig,
  compiled: Omit<Envelope, 'set' | 'place' | 'joined' | 'groupBy' | 'normalised'>,
): Envelope {
  const store = storeOf(member.config, declared)
  const { dek } = declared
  const id = list(declared.id)
  const { wraps, values, version, sets } = compiled
  const own = { table: declared.table, id }
  const isJoined = dek?.table !== undefined
  const outer = isJoined ? { table: dek.table ?? '', id: list(dek.id ?? 'id') } : own
  const labels = [...(version === undefined ? [] : [version.column]), ...sets.map(({ column }) => column)]
  const read = sets.flatMap(({ value }) => [...value.columns, ...value.newColumns])
  const inSet = isJoined ? wraps : [...wraps, ...values]
  const groupBy = list(dek?.['group-by'] ?? [])
  const set = { ...outer, columns: usedColumns(inSet, [...labels, ...read, ...groupBy], outer.id) }
  const on = list(dek?.on ?? [])
  if (isJoined && groupBy.length > 0) {
    const hint = 'A DEK in a table of its own is that of a group already: leave `group-by` out.'
    throw invalid(below(member, 'dek'), 'group-by', 'the DEK lies in a table of its own', hint)
  }
  if (isJoined && on.length !== outer.id.length) {
    const hint = `Say \`on:\` with the columns of ${declared.table} that hold the ${outer.id.join(', ')} of ${outer.table}.`
    throw invalid(below(member, 'dek'), 'on', 'the values do not say which DEK they have', hint)
  }
  const joined = isJoined ? { set: { ...own, columns: usedColumns(values, on, id) }, on, values } : undefined
  return {
    ...compiled,
    set,
    joined,
    groupBy,
    values: isJoined ? [] : values,
    place: {
      store: storePlace(store),
      table: set.table,
      columns: underKey({ wraps, values } as Envelope).flatMap(columnsOf),
    },
    normalised: {
      ...declared,
      derive: member.config.keys[declared.key]?.derive ?? null,
      store: { name: declared.store, ...storeTerms(store) },
    },
  }
}

function compileValues(
  member: Member,
  declared: EnvelopeConfig,
  derive: Derivation | undefined,
): readonly Sealed[] {
  const { value } = declared
  if (value === undefined) return []
  if (!Array.isArray(value)) return [compileSealed(below(member, 'value'), value, { derive })]
  return value.map((one, index) => compileSealed(below(below(member, 'value'), index), one, { derive }))
}

function compileSealed(
  member: Member,
  written: SealedConfig,
  { derive }: Pick<FormContext, 'derive'>,
): Sealed {
  const context: FormContext = { column: written.column, inside: undefined, derive }
  const read = compileForm(member, written, context)
  refuseWeakTest(member, read, written['plaintext-test'])
  const { to } = written
  const target = to && compileForm(below(member, 'to'), to, context)
  if (target !== undefined) refuseOtherColumns(member, read, target)
  const each = written.each
  if (each !== undefined && (typeof written.layout !== 'string' || written.column === undefined))
    throw invalid(member, 'each', 'it looks into one column', 'Say `column: NAME` and `layout` as one text.')
  return {
    forms: target === undefined ? [read] : [target, read],
    each: each === undefined ? undefined : located(member, 'each', () => compileEach(each)),
    holds: undefined,
    label: compileNames(member, 'keyid', written.keyid),
  }
}

/** Every key gives a stream cipher's plaintext its length: such a test could not fail. */
function refuseWeakTest(member: Member, { cipher, prefix }: Form, test: string | undefined): void {
  const isStream = /ctr|cfb|ofb|nopad/.test(cipher.name)
  if (prefix !== '' || cipher.kind !== 'legacy' || !isStream || !/^\s*length\s+\d+\s*$/.test(test ?? ''))
    return
  const hint = 'Say what the plaintexts are: `utf8`, `json`, `prefix "…"`.'
  throw invalid(
    member,
    'plaintext-test',
    `with ${cipher.name} a plaintext has this length under any key`,
    hint,
  )
}

function compileWrap(
  member: Member,
  written: Omit<WrappedConfig, 'table' | 'id' | 'on'>,
  context: { readonly values: readonly Sealed[]; readonly derive: Derivation | undefined },
): Sealed {
  const { layout } = written
  const [first] = context.values
  if (written.each !== undefined) {
    throw invalid(member, 'each', 'a record has one wrapped key', 'Declare an envelope for each DEK.')
  }
  const form = { ...written, layout: layout ?? {} }
  const inside = layout === undefined ? first?.forms[0].columns : undefined
  if (layout === undefined && inside === undefined)
    throw invalid(member, 'layout', 'it has no layout', 'Say how the wrapped key lies: `nonce:12 ct tag:16`.')
  const read = compileForm(member, form, { column: written.column, inside, derive: context.derive })
  const target =
    written.to &&
    compileForm(below(member, 'to'), written.to, { ...context, column: written.column, inside: undefined })
  if (target !== undefined) refuseOtherColumns(member, read, target)
  return {
    forms: target === undefined ? [read] : [target, read],
    each: undefined,
    holds: compileHeld(member, written.encoding),
    label: compileNames(member, 'keyid', written.keyid),
  }
}

const encodings: ReadonlyMap<string, string | undefined> = new Map([
  ['raw', undefined],
  ['base64', 'base64(ct)'],
  ['base64url', 'base64url(ct)'],
  ['hex', 'hex(ct)'],
])

function compileHeld(member: Member, encoding: string): Layout | undefined {
  const source = encodings.has(encoding) ? encodings.get(encoding) : encoding
  if (source === undefined) return undefined
  const layout = located(member, 'encoding', () => compileLayout(source))
  if (layout.partNames.has('ct')) return layout
  const hint = `Say ${[...encodings.keys()].join(', ')}, or a layout whose part ct is the key.`
  throw invalid(member, 'encoding', 'it has no part ct', hint)
}

/** A conversion writes the columns that it reads: nothing else would be left behind. */
function refuseOtherColumns(member: Member, read: Form, to: Form): void {
  if (columnNames(read) === columnNames(to)) return
  throw invalid(
    member,
    'to',
    `it lies in ${columnNames(to)} and not in ${columnNames(read)}`,
    'A conversion keeps to the columns that the value has.',
  )
}

function columnNames({ columns }: Form): string {
  return columns
    .map(({ column }) => column)
    .sort()
    .join(', ')
}

function compileNames(
  member: Member,
  name: string,
  written: string | Readonly<Record<string, string>> | undefined,
): VersionNames | undefined {
  if (written === undefined) return undefined
  if (typeof written === 'string') {
    const of = located(member, name, () => compileDerivation(written))
    if (of.columns.size + of.newColumns.size + of.partNames.size > 0)
      throw invalid(member, name, 'it reads a record', 'A name of a version is made of `key` alone.')
    return { kind: 'key', of }
  }
  const byVersion = new Map(Object.entries(written).map(([version, text]) => [Number(version), text]))
  if (new Set(byVersion.values()).size < byVersion.size)
    throw invalid(member, name, 'two versions have the same name', 'Each version needs a name of its own.')
  return { kind: 'names', byVersion }
}

function compileVersion(member: Member, written: VersionConfig | undefined): ColumnLabel | undefined {
  if (written === undefined) return undefined
  if (typeof written === 'string')
    return { column: written, kind: 'number', layout: undefined, names: undefined }
  const { column, layout: source, names, keyid } = written
  const ways = [source, names, keyid].filter((way) => way !== undefined)
  if (ways.length > 1)
    throw invalid(member, undefined, 'it says its version in one way', 'Keep one of layout, names and keyid.')
  if (source === undefined) {
    const said = compileNames(member, names === undefined ? 'keyid' : 'names', names ?? keyid)
    return { column, kind: said === undefined ? 'number' : 'names', layout: undefined, names: said }
  }
  const layout = located(member, 'layout', () => compileLayout(source))
  if (!layout.partNames.has('version'))
    throw invalid(member, 'layout', 'it has no part version', 'Write e.g. "v" dec(version).')
  return { column, kind: 'layout', layout, names: undefined }
}

function keyDerivation(config: Declarations, key: string): Derivation | undefined {
  const source = config.keys[key]?.derive
  if (source === undefined) return undefined
  return located({ config, at: ['keys', key] }, 'derive', () => compileDerivation(source))
}

function storeOf(config: Declarations, { store }: EnvelopeConfig): StoreConfig {
  const found = config.stores[store]
  if (found === undefined) throw new TypeError('references were checked')
  return found
}

function below(member: Member, name: PropertyKey): Member {
  return { ...member, at: [...member.at, name] }
}

function list(names: string | readonly string[]): readonly string[] {
  return typeof names === 'string' ? [names] : names
}

function usedColumns(
  sealed: readonly Sealed[],
  more: readonly string[],
  id: readonly string[],
): readonly string[] {
  const used = new Set<string>()
  for (const one of sealed) {
    for (const column of columnsOf(one)) used.add(column)
    for (const form of one.forms) for (const column of boundColumns(form)) used.add(column)
  }
  for (const column of more) used.add(column)
  return [...used].filter((column) => !id.includes(column))
}
