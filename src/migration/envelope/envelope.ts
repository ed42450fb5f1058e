import type { Cipher } from '../../core/cipher/cipher.ts'
import type { Each } from '../../core/layout/json-each.ts'
import type { Derivation } from '../../core/layout/derivation.ts'
import type { Layout } from '../../core/layout/layout.ts'
import type { Template } from '../../core/layout/template.ts'
import type { RecordSet } from '../../stores/store.ts'
import type { Place } from '../workload.ts'
import type { ColumnLabel, ValueLabel } from './labels.ts'

/** One way in which the bytes of a sealed thing lie, and with what they are sealed. */
export type Form = {
  readonly columns: readonly { readonly column: string; readonly layout: Layout }[]
  /** Before the names of its parts in those layouts: `dek.` where a wrapped key lies in its value's layout. */
  readonly prefix: '' | 'dek.'
  readonly cipher: Cipher
  readonly aad: Template | undefined
  /** What makes the cipher's key; the key itself is that key where there is none. */
  readonly derive: Derivation | undefined
  /** What makes a nonce that is not stored. */
  readonly nonce: Derivation | undefined
  /** What tells a plaintext from garbage, for a cipher that does not authenticate. */
  readonly test: ((plaintext: Uint8Array) => boolean) | undefined
  /** How long a nonce is where no old one says so: as the layout says, or as the cipher likes best. 0: none. */
  readonly nonceLength: number
  /** Of a new salt, where none lies there yet. */
  readonly saltLength: number
}

/** One sealed thing in a record: a wrapped key or a value, its bytes in one column or spread over several. */
export type Sealed = {
  /** The form that is written, then one that is only read where values are converted. */
  readonly forms: readonly [Form, ...Form[]]
  /** Several such things in the one column, a document of JSON. */
  readonly each: Each | undefined
  /** How a wrapped key lies in the plaintext of its wrap, as its `ct`; undefined where it is the plaintext. */
  readonly holds: Layout | undefined
  /** What its part `keyid` says of a version. */
  readonly label: ValueLabel | undefined
}

/** Values that lie in another record set than the wrapped DEKs that open them. */
export type Joined = {
  readonly set: RecordSet
  /** Columns of the values' records that hold the id of the DEK's. */
  readonly on: readonly string[]
  readonly values: readonly Sealed[]
}

/** A compiled declaration: what `kvx.yaml` says of one kind of sealed record. */
export type Envelope = {
  readonly name: string
  readonly store: string
  /** The configured key at the outermost level. */
  readonly key: string
  /** The records that a run rewrites: those of the wrapped DEKs where values are joined to them. */
  readonly set: RecordSet
  readonly place: Place
  /** Wrapped keys, the outermost first; none where values lie directly under the key. */
  readonly wraps: readonly Sealed[]
  /** Values in the same records; none where only wrapped DEKs are known, or the values are joined. */
  readonly values: readonly Sealed[]
  readonly joined: Joined | undefined
  /** Columns whose values tell which records share a DEK: they get a new one together. */
  readonly groupBy: readonly string[]
  /** The column that carries the key's version and changes together with what lies under the key. */
  readonly version: ColumnLabel | undefined
  /** Columns that change together with a record. */
  readonly sets: readonly { readonly column: string; readonly value: Derivation }[]
  /** Whether values that are not sealed may lie among the sealed ones. */
  readonly plaintext: boolean
  /** The declaration as data, the same for the same meaning: part of a plan's digest. */
  readonly normalised: Readonly<Record<string, unknown>>
}

/** The records whose values are joined to their wrapped DEKs, as an envelope of their own. */
export function joinedValues(envelope: Envelope): Envelope {
  const { joined } = envelope
  return joined === undefined
    ? envelope
    : { ...envelope, set: joined.set, values: joined.values, joined: undefined }
}

/** What lies directly under the configured key: the outermost wrap, or the values. */
export function underKey({ wraps, values }: Envelope): readonly Sealed[] {
  const [outer] = wraps
  return outer === undefined ? values : [outer]
}

const below = new WeakMap<Envelope, readonly Sealed[]>()

/** What lies below the outermost wrap: further wraps, then the values. Nothing where values lie under the key. */
export function belowWrap(envelope: Envelope): readonly Sealed[] {
  const known = below.get(envelope)
  if (known !== undefined) return known
  const lower = envelope.wraps.length === 0 ? [] : [...envelope.wraps.slice(1), ...envelope.values]
  below.set(envelope, lower)
  return lower
}

const bound = new WeakMap<Form, ReadonlySet<string>>()

/** The columns that a form's expressions read besides those that it lies in. */
export function boundColumns(form: Form): ReadonlySet<string> {
  const known = bound.get(form)
  if (known !== undefined) return known
  const { aad, derive, nonce } = form
  const read = [aad, derive, nonce].flatMap((one) => [...(one?.columns ?? []), ...(one?.newColumns ?? [])])
  const columns = new Set(read)
  bound.set(form, columns)
  return columns
}

/** The columns that hold the bytes themselves. */
export function columnsOf({ forms }: Sealed): readonly string[] {
  return [...new Set(forms.flatMap(({ columns }) => columns.map(({ column }) => column)))]
}
