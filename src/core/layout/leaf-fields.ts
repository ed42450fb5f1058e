import { between, sameBytes, unlike, type Field } from './field.ts'
import { bytesOf, mismatch, type Named, type Source } from './values.ts'

export function literalField(place: string, bytes: Uint8Array): Field {
  return {
    place,
    size: { kind: 'fixed', bytes: bytes.length },
    literal: bytes,
    read(value, where) {
      if (!sameBytes(value, bytes)) throw unlike(place, where, 'other bytes stand there')
    },
    write: () => bytes,
  }
}

export type PartUse = {
  readonly place: string
  /** The name in `Parts`: that of the part, or one with # for bytes of `skip`. */
  readonly name: string
  readonly length: number | undefined
  /** Templates write a part that is a number as decimal text, layouts take no number for bytes. */
  readonly numbersAsText: boolean
}

export function partField({ place, name, length, numbersAsText }: PartUse): Field {
  const take: Field['take'] = (bytes, from, to, found) => found.set(name, between(bytes, from, to))
  return {
    place,
    size:
      length === undefined ? { kind: 'open', least: 0, holds: 'anything' } : { kind: 'fixed', bytes: length },
    read: (value, _where, found) => take(value, 0, value.length, found),
    take,
    write(source) {
      const value = source.part(name)
      if (value === undefined && name.startsWith('#')) {
        throw mismatch(`the bytes of ${place} are not known: take them from a value that was parsed`)
      }
      if (typeof value === 'bigint' && !numbersAsText) throw mismatch(`part ${name} is a number, not bytes`)
      const bytes = bytesOf({ name: `part ${name}`, value })
      if (length === undefined || bytes.length === length) return bytes
      throw mismatch(`part ${name} has ${bytes.length} bytes, ${place} takes ${length}`)
    },
  }
}

/** What an operand of a number function or of `uuid` is. */
export type Operand = {
  /** Set for a part: where a layout puts what it reads. */
  readonly part: string | undefined
  value(source: Source): Named
}

export function partOperand(part: string): Operand {
  return { part, value: (source) => ({ name: `part ${part}`, value: source.part(part) }) }
}

export function columnOperand(name: string, fresh: boolean): Operand {
  return {
    part: undefined,
    value: (source) => ({
      name: fresh ? `the new value of column ${name}` : `column ${name}`,
      value: fresh ? source.newCell(name) : source.cell(name),
    }),
  }
}

/** A column stands in templates only, so its field never reads. */
export function columnField(place: string, operand: Operand): Field {
  return writeOnly(place, (source) => bytesOf(operand.value(source)))
}

export function writeOnly(place: string, write: (source: Source) => Uint8Array): Field {
  return {
    place,
    size: { kind: 'open', least: 0, holds: 'anything' },
    read() {
      throw new TypeError(`${place} stands in a template, which reads nothing`)
    },
    write,
  }
}
