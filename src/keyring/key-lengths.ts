import type { KeyEncoding } from '../core/key-encoding.ts'

/**
 * How many bytes a key of an application may have: 16 to 1024. One that people typed (`ascii`) may be shorter:
 * it is what the application derives its key of, and the sooner it is rotated the better.
 */
export function keyLengths(encoding: KeyEncoding | undefined): {
  readonly expectLength: { readonly min: number; readonly max: number }
} {
  return { expectLength: { min: encoding === 'ascii' ? 1 : 16, max: 1024 } }
}
