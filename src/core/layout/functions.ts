import { codedField, utf8Field } from './coded-fields.ts'
import type { Field } from './field.ts'
import { jsonField, type ContainerRule } from './json-field.ts'
import type { Operand } from './leaf-fields.ts'
import { decimalNumber, fixedNumber, uuidField, varintField, type Width } from './number-fields.ts'
import { lengthPrefixes, prefixedField, type LengthPrefix } from './prefixed-field.ts'
import { protoField, type MessageRule } from './proto-field.ts'
import type { Sequence } from './sequence.ts'
import type { Kind } from './source-text.ts'
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
  /** An object or array of JSON. `frame` is the name under which its document is kept. */
  | {
      readonly takes: 'document'
      readonly makes: (place: string, rule: ContainerRule, frame: string) => Field
    }
  /** The fields of a message of protobuf, kept likewise. */
  | { readonly takes: 'message'; readonly makes: (place: string, rule: MessageRule, frame: string) => Field }
  /** A text and how wide its lines are. */
  | { readonly takes: 'lines'; readonly ended: boolean }
  /** An integer that is a member of a document or a field of a message. */
  | { readonly takes: 'member'; readonly of: 'json' | 'proto' }

function coded(codec: TextCodec): readonly [string, FunctionRule] {
  return [codec.name, { takes: 'bytes', makes: (place, inner) => codedField(place, codec, inner) }]
}

function number(bytes: Width['bytes'], order: Width['order']): readonly [string, FunctionRule] {
  const name = bytes === 1 ? 'u8' : `u${8 * bytes}${order}`
  return [
    name,
    { takes: 'operand', makes: (place, operand) => fixedNumber(place, { bytes, order }, operand) },
  ]
}

function prefixed([name, prefix]: readonly [string, LengthPrefix]): readonly [string, FunctionRule] {
  return [name, { takes: 'bytes', makes: (place, inner) => prefixedField(place, prefix, inner) }]
}

export const functions: ReadonlyMap<string, FunctionRule> = new Map<string, FunctionRule>([
  ...[base64, base64NoPad, base64Url, base64UrlPad, hex, hexUpper].map(coded),
  ['utf8', { takes: 'bytes', makes: utf8Field }],
  number(1, 'be'),
  ...(['be', 'le'] as const).flatMap((order) => ([2, 4, 8] as const).map((bytes) => number(bytes, order))),
  ['uvarint', { takes: 'operand', makes: varintField }],
  ['dec', { takes: 'operand', makes: decimalNumber }],
  ...Object.entries(lengthPrefixes).map(prefixed),
  ['lines', { takes: 'lines', ended: true }],
  ['wrap', { takes: 'lines', ended: false }],
  ['uuid', { takes: 'operand', makes: uuidField }],
  ['json', { takes: 'document', makes: jsonField }],
  ['number', { takes: 'member', of: 'json' }],
  ['proto', { takes: 'message', makes: protoField }],
  ['varint', { takes: 'member', of: 'proto' }],
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
  'time',
  'iterations',
  'skip',
])

/** Words that stand like parts where an expression is for something that has them. */
export const extraWords: Readonly<Record<Kind, readonly string[]>> = {
  layout: [],
  template: ['header'],
  derivation: ['key', 'header'],
  mac: ['aad'],
  plaintext: [],
}

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
  ['timestamp', 'time'],
  ['rounds', 'iterations'],
  ['b64', 'base64'],
  ['base64nopadding', 'base64nopad'],
  ['u16', 'u16be'],
  ['u32', 'u32be'],
  ['u64', 'u64be'],
  ['uint32', 'u32be'],
  ['leb128', 'uvarint'],
  ['protobuf', 'proto'],
  ['decimal', 'dec'],
  ['text', 'utf8'],
])
