import { writeOnly, type Operand } from './leaf-fields.ts'
import type { Field } from './field.ts'
import type { Sequence } from './sequence.ts'
import { integerOf, made, mismatch, type Source } from './values.ts'

/** What one argument of a computing function is. */
export type Parameter = {
  readonly name: string
  /** True for one that may stand without its name, in the order of the list. */
  readonly inOrder: boolean
  /** What it is when it is not written; a function without it is refused. */
  readonly otherwise: 'needed' | 'key' | 'none' | number
} & ({ readonly takes: 'bytes' } | ({ readonly takes: 'number' } & Range))

/** What a number may be. The upper ends keep a typing mistake from exhausting the machine. */
export type Range = { readonly least: number; readonly most: number }

/** The arguments of one call, by the names of the parameters. */
export type Arguments = {
  /** Empty where it was not written. */
  bytes(name: string): Uint8Array
  given(name: string): boolean
  number(name: string): number
}

/**
 * A function that makes bytes which can't be read back: a hash, a derived key, a slice. Layouts have none.
 * What `compute` makes besides its result it wipes itself.
 */
export type Computation = {
  readonly parameters: readonly Parameter[]
  /** What is wrong with these numbers together, where each one is in its range. */
  readonly limit?: (number: (name: string) => number) => string | undefined
  /** A new buffer, never one of the arguments. */
  compute(args: Arguments): Uint8Array
}

/** What an argument is made from, ready to work. */
export type Bound = Sequence | Operand | number

export function isSequence(bound: Bound | undefined): bound is Sequence {
  return typeof bound === 'object' && 'pieces' in bound
}

export function computedField(
  place: string,
  computation: Computation,
  bound: ReadonlyMap<string, Bound>,
): Field {
  return writeOnly(place, (source) => {
    const numbers = numbersOf(place, computation, bound, source)
    const bytes = new Map<string, Uint8Array>()
    for (const [name, one] of bound) if (isSequence(one)) bytes.set(name, one.write(source))
    const result = computation.compute({
      bytes: (name) => bytes.get(name) ?? new Uint8Array(),
      given: (name) => bound.has(name),
      number: (name) => numbers.get(name) ?? 0,
    })
    return made(source, result)
  })
}

function numbersOf(
  place: string,
  computation: Computation,
  bound: ReadonlyMap<string, Bound>,
  source: Source,
): ReadonlyMap<string, number> {
  const numbers = new Map<string, number>()
  for (const parameter of computation.parameters) {
    const one = bound.get(parameter.name)
    if (parameter.takes !== 'number' || one === undefined || isSequence(one)) continue
    const number = typeof one === 'number' ? one : Number(integerOf(one.value(source)))
    const fault = outside(parameter, number)
    if (fault !== undefined) throw mismatch(`${parameter.name} of ${place} ${fault}`)
    numbers.set(parameter.name, number)
  }
  const limit = computation.limit?.((name) => numbers.get(name) ?? 0)
  if (limit !== undefined) throw mismatch(`${place}: ${limit}`)
  return numbers
}

/** Says so when a number is outside its range. */
export function outside({ least, most }: Range, number: number): string | undefined {
  return number >= least && number <= most ? undefined : `is not from ${least} to ${most}`
}
