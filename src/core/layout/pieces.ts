import type { Computation } from './computed.ts'
import { data, inOrder, length, named, number, written, type Named } from './parameters.ts'
import { base64, base64NoPad, base64Url, base64UrlPad, decodeHexOfAnyCase, isFault } from './text-codecs.ts'
import { mismatch } from './values.ts'

const slice: Computation = {
  parameters: [
    written,
    inOrder(number('offset', { least: 0, most: 65_536 })),
    inOrder(number('length', { least: 1, most: 65_536 }, 'none')),
  ],
  compute(args) {
    const bytes = args.bytes('data')
    const start = args.number('offset')
    const end = args.given('length') ? start + args.number('length') : bytes.length
    if (start > bytes.length || end > bytes.length) {
      throw mismatch(`slice takes bytes ${start} to ${end}, and there are ${bytes.length}`)
    }
    return new Uint8Array(bytes.subarray(start, end))
  },
}

/** Applications bring passphrases to the length of a key so. */
const pad: Computation = {
  parameters: [written, { ...inOrder(length), otherwise: 'needed' }, named('with', 'none')],
  compute(args) {
    const filler = args.given('with') ? args.bytes('with') : new Uint8Array(1)
    if (filler.length !== 1) throw mismatch('pad fills with one byte')
    const made = new Uint8Array(args.number('length')).fill(filler[0] ?? 0)
    made.set(args.bytes('data').subarray(0, made.length))
    return made
  },
}

/** MySQL's AES_ENCRYPT makes its key so: every byte is mixed into its place modulo the length. */
const xorfold: Computation = {
  parameters: [written, { ...inOrder(length), otherwise: 'needed' }],
  compute(args) {
    const made = new Uint8Array(args.number('length'))
    args.bytes('data').forEach((byte, at) => {
      made[at % made.length] = (made[at % made.length] ?? 0) ^ byte
    })
    return made
  },
}

function decoder(
  name: string,
  digits: string,
  decode: (text: Uint8Array) => ReturnType<typeof base64.decode>,
): Named {
  return [
    name,
    {
      parameters: [data],
      compute(args) {
        const bytes = decode(args.bytes('data'))
        if (isFault(bytes)) throw mismatch(`what ${name} takes is no ${digits}`)
        return bytes
      },
    },
  ]
}

/** ASCII letters in the other case, and every other byte as it is. */
function inCase(name: string, from: number): Named {
  const turned = (byte: number): number => (byte >= from && byte < from + 26 ? byte ^ 0x20 : byte)
  return [name, { parameters: [written], compute: (args) => args.bytes('data').map(turned) }]
}

/** A document of JSON with everything but printable ASCII escaped, as Python's `json.dumps` writes it. */
const jsonascii: Computation = {
  parameters: [written],
  compute(args) {
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(args.bytes('data'))
    // Each UTF-16 unit by itself: a character beyond the first 65 536 becomes two escapes.
    const escaped = text.replace(
      /[^ -~]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    return new TextEncoder().encode(escaped)
  },
}

/** A compact document of JSON with a space behind each comma and colon, Python's spelling again. */
const jsonspaced: Computation = {
  parameters: [written],
  compute(args) {
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(args.bytes('data'))
    const spaced = text.replace(/"(?:[^"\\]|\\.)*"|[,:]/g, (token) =>
      token.length === 1 ? `${token} ` : token,
    )
    return new TextEncoder().encode(spaced)
  },
}

/** The length in bits as a number of 8 bytes, as RFC 7518 puts it behind what a MAC covers. */
const bits64: Computation = {
  parameters: [written],
  compute(args) {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigUint64(0, 8n * BigInt(args.bytes('data').length))
    return bytes
  },
}

function eitherPadding<Codec>(text: Uint8Array, padded: Codec, bare: Codec): Codec {
  return text.length % 4 === 0 ? padded : bare
}

export const pieces: readonly Named[] = [
  ['slice', slice],
  ['pad', pad],
  ['xorfold', xorfold],
  decoder('unhex', 'hex', decodeHexOfAnyCase),
  decoder('unbase64', 'base64', (text) => eitherPadding(text, base64, base64NoPad).decode(text)),
  decoder('unbase64url', 'base64url', (text) => eitherPadding(text, base64UrlPad, base64Url).decode(text)),
  inCase('lower', 0x41),
  inCase('upper', 0x61),
  ['jsonascii', jsonascii],
  ['jsonspaced', jsonspaced],
  ['bits64', bits64],
]
