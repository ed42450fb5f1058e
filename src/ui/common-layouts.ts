import { isKvxError } from '../core/errors.ts'
import { compileLayout } from '../core/layout/layout.ts'
import { columns } from './columns.ts'

type CommonLayout = { readonly name: string; readonly layout: string; readonly says: string }

/** The layouts that most applications have, by a name that can be typed. */
const commonLayouts: readonly CommonLayout[] = [
  { name: 'raw', layout: 'nonce:12 ct tag:16', says: 'bytes: nonce, ciphertext, tag' },
  { name: 'base64', layout: 'base64(nonce:12 ct tag:16)', says: 'the same in base64' },
  { name: 'base64-16', layout: 'base64(nonce:16 ct tag:16)', says: 'base64, with a nonce of 16 bytes' },
  { name: 'tag-first', layout: 'base64(nonce:12 tag:16 ct)', says: 'base64, the tag before the ciphertext' },
  { name: 'hex', layout: 'hex(nonce:12) ":" hex(tag:16) ":" hex(ct)', says: 'iv:tag:ciphertext in hex' },
  { name: 'hex-ct', layout: 'hex(nonce:12) ":" hex(ct) ":" hex(tag:16)', says: 'iv:ciphertext:tag in hex' },
  { name: 'xchacha', layout: 'nonce:24 ct tag:16', says: 'bytes, with a nonce of 24 bytes' },
  {
    name: 'json',
    layout: 'json({"iv": base64(nonce:12), "ct": base64(ct), "tag": base64(tag:16), ...})',
    says: 'a JSON object with members in base64',
  },
]

export function layoutTable(): readonly string[] {
  return columns(
    commonLayouts.map(({ name, layout, says }) => [name, layout, says]),
    '    ',
  )
}

/** The layout of a name, or the text as it is. */
export function layoutOf(answer: string): string {
  return commonLayouts.find(({ name }) => name === answer)?.layout ?? answer
}

const needed = ['nonce', 'ct', 'tag'] as const

/** The parts in a layout, or what is wrong with it, with a caret under the place. */
export function checkLayout(answer: string): readonly string[] | string {
  try {
    return [...compileLayout(layoutOf(answer)).partNames]
  } catch (error) {
    if (!isKvxError(error)) throw error
    return error.hint === undefined ? error.message : `${error.message}\n  ${error.hint}`
  }
}

/** True when the parts of a value's columns hold each needed one once, else which are wrong. */
export function checkParts(parts: readonly string[]): true | string {
  const wrong = needed.filter((name) => parts.filter((part) => part === name).length !== 1)
  if (wrong.length === 0) return true
  return `${wrong.join(' and ')} must stand in it exactly once, e.g. nonce:12 ct tag:16`
}
