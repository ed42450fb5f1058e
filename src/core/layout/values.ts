import { KvxError } from '../errors.ts'

/** One column as a store returns it. The same union as `Cell` of the stores, which core may not import. */
export type Value = null | string | Uint8Array | bigint | number

/**
 * What a layout found in a value: bytes by part name, numbers (`version` in `u32be`, `dec`, …) as bigint.
 *
 * Entries whose name begins with `#` are what the value holds beside its parts (bytes of `skip`, the JSON
 * document around members). They are there so that rendering gives back every byte: keep them when a part is
 * replaced, `new Map([...parts, ['ct', ct]])`.
 */
export type Parts = ReadonlyMap<string, Uint8Array | bigint>

/** Where rendering takes its values from. */
export type Source = {
  part(name: string): Uint8Array | bigint | undefined
  cell(name: string): Value
  newCell(name: string): Value
  /** Is told of every buffer that is made on the way, for those who must wipe them. */
  made?(bytes: Uint8Array): void
}

/** Tells the source of a buffer that was made from its values. */
export function made<Bytes extends Uint8Array>(source: Source, bytes: Bytes): Bytes {
  source.made?.(bytes)
  return bytes
}

const encoder = new TextEncoder()

/** A value under the name by which an operator knows it: `column key_version`, `part nonce`. */
export type Named = { readonly name: string; readonly value: Value | undefined }

export function mismatch(message: string, details: Readonly<Record<string, string | number>> = {}): KvxError {
  return new KvxError('LAYOUT_MISMATCH', message, { details })
}

function refuseMissing({ name, value }: Named): Exclude<Value, null> {
  if (value === undefined) throw mismatch(`${name} is not given`)
  if (value === null) throw mismatch(`${name} is null`)
  return value
}

/** Text as UTF-8, bytes as they are, integers as decimal text. */
export function bytesOf(named: Named): Uint8Array {
  const value = refuseMissing(named)
  if (typeof value === 'bigint') return encoder.encode(String(value))
  if (typeof value === 'number') {
    throw mismatch(`${named.name} is a real number, whose text is written differently by every language`)
  }
  if (typeof value !== 'string') return value
  if (value.isWellFormed()) return encoder.encode(value)
  throw mismatch(`${named.name} is text that UTF-8 can't express`)
}

/** An integer, or the text that `String(integer)` gives. */
export function integerOf(named: Named): bigint {
  const value = refuseMissing(named)
  if (typeof value === 'bigint') return value
  if (typeof value === 'string' && /^(?:0|-?[1-9][0-9]{0,30})$/.test(value)) return BigInt(value)
  throw mismatch(`${named.name} is not an integer`)
}
