import { further, unlike, within, type Field } from './field.ts'
import type { Sequence } from './sequence.ts'
import { isFault, type DecodeFault, type TextCodec } from './text-codecs.ts'
import { made, mismatch } from './values.ts'

const reasons = {
  character: 'this byte is none of the',
  length: 'the number of characters is not possible for',
  padding: 'the padding is not that of',
  bits: 'the last character has bits that no encoder writes in',
} as const satisfies Record<DecodeFault['fault'], string>

/** `hex`, `base64` and their kind: the text of what is inside. Reads the one spelling that it writes. */
export function codedField(place: string, codec: TextCodec, inner: Sequence): Field {
  return {
    place,
    size:
      inner.fixed === undefined
        ? { kind: 'open', least: codec.encodedLength(inner.least), holds: codec.alphabet }
        : { kind: 'fixed', bytes: codec.encodedLength(inner.fixed) },
    read(value, where, found) {
      const decoded = codec.decode(value)
      if (isFault(decoded)) {
        throw unlike(place, further(where, decoded.at), `${reasons[decoded.fault]} ${codec.digits}`)
      }
      inner.read(decoded, within(where, place), found)
    },
    write: (source) => made(source, codec.encode(inner.write(source))),
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function isUtf8(bytes: Uint8Array): boolean {
  try {
    utf8.decode(bytes)
    return true
  } catch {
    return false
  }
}

/** `utf8`: the bytes themselves, which must be UTF-8. Before a delimiter it ends where that first occurs. */
export function utf8Field(place: string, inner: Sequence): Field {
  return {
    place,
    size:
      inner.fixed === undefined
        ? { kind: 'open', least: inner.least, holds: 'text' }
        : { kind: 'fixed', bytes: inner.fixed },
    read(value, where, found) {
      if (!isUtf8(value)) throw unlike(place, where, 'these bytes are not UTF-8')
      inner.read(value, where, found)
    },
    write(source) {
      const bytes = inner.write(source)
      if (isUtf8(bytes)) return bytes
      throw mismatch(`the new bytes of ${place} are not UTF-8`)
    },
  }
}
