import { codedField, prefixedField, utf8Field } from './coded-fields.ts'
import type { Field } from './field.ts'
import { jsonField, type ObjectRule } from './json-field.ts'
import type { Operand } from './leaf-fields.ts'
import { decimalNumber, fixedNumber, uuidField } from './number-fields.ts'
import type { Sequence } from './sequence.ts'
import { base64, base64NoPad, base64Url, base64UrlPad, hex, hexUpper, type TextCodec } from './text-codecs.ts'

/**
 * The functions of the language. A new one is one more entry of {@link functions}: it says what its argument
 * is and which field it makes.
 */
export type FunctionRule =
  /** Any items: they are what is encoded. */
  | { readonly takes: 'bytes'; readonly makes: (place: string, inner: Sequence) => Field }
  /** One part, column or number. */
  | { readonly takes: 'operand'; readonly makes: (place: string, operand: Operand) => Field }
  /** An object of JSON. `frame` is the name under which its document is kept. */
  | { readonly takes: 'object'; readonly makes: (place: string, object: ObjectRule, frame: string) => Field }
  /** Only as a member of an object. */
  | { readonly takes: 'member' }

function coded(codec: TextCodec): readonly [string, FunctionRule] {
  return [codec.name, { takes: 'bytes', makes: (place, inner) => codedField(place, codec, inner) }]
}

function number(name: string, bytes: 1 | 2 | 4 | 8): readonly [string, FunctionRule] {
  return [name, { takes: 'operand', makes: (place, operand) => fixedNumber(place, bytes, operand) }]
}

function prefixed(name: string, width: 2 | 4): readonly [string, FunctionRule] {
  return [name, { takes: 'bytes', makes: (place, inner) => prefixedField(place, width, inner) }]
}

export const functions: ReadonlyMap<string, FunctionRule> = new Map<string, FunctionRule>([
  ...[base64, base64NoPad, base64Url, base64UrlPad, hex, hexUpper].map(coded),
  ['utf8', { takes: 'bytes', makes: utf8Field }],
  number('u8', 1),
  number('u16be', 2),
  number('u32be', 4),
  number('u64be', 8),
  ['dec', { takes: 'operand', makes: decimalNumber }],
  prefixed('lp16', 2),
  prefixed('lp32', 4),
  ['uuid', { takes: 'operand', makes: uuidField }],
  ['json', { takes: 'object', makes: jsonField }],
  ['number', { takes: 'member' }],
])

/** The parts of a sealed value. Each may have `dek.` before it: the same part of the wrapped key in the value. */
export const parts: ReadonlySet<string> = new Set([
  'nonce',
  'ct',
  'tag',
  'mac',
  'salt',
  'version',
  'keyid',
  'skip',
])

/** What people call these things elsewhere. */
export const otherNames: ReadonlyMap<string, string> = new Map([
  ['iv', 'nonce'],
  ['ciphertext', 'ct'],
  ['data', 'ct'],
  ['cipher', 'ct'],
  ['value', 'ct'],
  ['auth_tag', 'tag'],
  ['authtag', 'tag'],
  ['hmac', 'mac'],
  ['key_id', 'keyid'],
  ['kid', 'keyid'],
  ['ver', 'version'],
  ['key_version', 'version'],
  ['b64', 'base64'],
  ['base64nopadding', 'base64nopad'],
  ['u16', 'u16be'],
  ['u32', 'u32be'],
  ['u64', 'u64be'],
  ['uint32', 'u32be'],
  ['decimal', 'dec'],
  ['text', 'utf8'],
])
