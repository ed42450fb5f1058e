import type { Computation, Parameter, Range } from './computed.ts'

// How the functions of bytes describe what they take.

/** What is put in: `key` where a derivation does not say anything else. */
export const data: Parameter = { name: 'data', inOrder: true, otherwise: 'key', takes: 'bytes' }
export const written: Parameter = { ...data, otherwise: 'needed' }

export function named(name: string, otherwise: 'needed' | 'none' | 'key' = 'needed'): Parameter {
  return { name, inOrder: false, otherwise, takes: 'bytes' }
}

export function number(
  name: string,
  range: Range,
  otherwise: 'needed' | 'none' | number = 'needed',
): Parameter {
  return { name, inOrder: false, otherwise, takes: 'number', ...range }
}

export function inOrder(parameter: Parameter): Parameter {
  return { ...parameter, inOrder: true }
}

const lengths: Range = { least: 1, most: 1024 }
export const length = number('length', lengths, 32)

export type Named = readonly [string, Computation]
