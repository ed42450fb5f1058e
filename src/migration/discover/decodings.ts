import {
  base64,
  base64NoPad,
  base64Url,
  base64UrlPad,
  hex,
  hexUpper,
  isFault,
  type TextCodec,
} from '../../core/layout/text-codecs.ts'

export type Decoding = { readonly codec: TextCodec; readonly bytes: Uint8Array }

/** The narrowest alphabet first: what is hex is base64 too, and hardly ever means it. */
const codecs: readonly TextCodec[] = [hex, hexUpper, base64, base64NoPad, base64Url, base64UrlPad]

/** Every encoding that the text can be. Digits alone are a number, and short words are words. */
export function decodings(text: Uint8Array, least = 16): readonly Decoding[] {
  if (text.length < least || text.length > 16 * 1_048_576) return []
  return codecs.flatMap((codec) => {
    const bytes = codec.decode(text)
    return isFault(bytes) ? [] : [{ codec, bytes }]
  })
}
