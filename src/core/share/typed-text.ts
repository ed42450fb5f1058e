/** Characters of a share with its prefix `kvx1`. */
export const shareLength = 88
export const sharePrefix = Buffer.from('kvx1')
/** What the text of a share of a rehearsal begins with, and its characters. */
export const rehearsalPrefix = Buffer.from('kvxtest1')
export const rehearsalLength = 92
/** What a person types for a character that can't be read any more. */
export const unreadable = 0x3f

const foreign = 0xff
const groupsOfLine = 24

/**
 * What a person typed, pasted or scanned, in the one form: lower case, without white space, `-`, `.`, `:` and the
 * numbers that cards print before their lines. A character outside ASCII becomes one byte 0xff. The caller
 * wipes both.
 */
export function normaliseShare(typed: Uint8Array): Uint8Array {
  const kept = new Uint8Array(typed.length)
  let length = 0
  for (let at = 0; at < typed.length; ) {
    const numbered = startsLine(typed, at) ? lineNumber(typed, at) : undefined
    if (numbered !== undefined && length === (numbered.number - 1) * groupsOfLine) {
      at = numbered.end
      continue
    }
    const { size, code } = characterAt(typed, at)
    if (code !== undefined) kept[length++] = code
    at += size
  }
  const text = kept.slice(0, length)
  kept.fill(0)
  return text
}

/** True for a normalised text that begins as shares of a rehearsal do. */
export function isOfRehearsal(text: Uint8Array): boolean {
  return rehearsalPrefix.every((code, at) => text[at] === code)
}

/** How many characters a text that begins so has when it is whole. */
export function wholeLength(text: Uint8Array): number {
  return isOfRehearsal(text) ? rehearsalLength : shareLength
}

function startsLine(typed: Uint8Array, at: number): boolean {
  return at === 0 || typed[at - 1] === 0x0a || typed[at - 1] === 0x0d
}

/** `  2  ` or `2: ` before at least four characters of text. */
function lineNumber(typed: Uint8Array, at: number): { number: number; end: number } | undefined {
  const head = Buffer.from(typed.subarray(at, at + 16))
  const match = /^[ \t]*([1-4])[ \t.:)]+(?=[0-9A-Za-z?]{4})/.exec(head.toString('latin1'))
  head.fill(0)
  return match?.[1] === undefined ? undefined : { number: Number(match[1]), end: at + match[0].length }
}

const separators = new Set(Buffer.from(' \t\r\n\v\f-.:'))

function characterAt(typed: Uint8Array, at: number): { size: number; code: number | undefined } {
  const code = typed[at] ?? 0
  if (code < 0x80) {
    if (separators.has(code)) return { size: 1, code: undefined }
    return { size: 1, code: code >= 0x41 && code <= 0x5a ? code + 0x20 : code }
  }
  const size = code >= 0xf0 ? 4 : code >= 0xe0 ? 3 : 2
  const [second = 0, third = 0] = typed.subarray(at + 1, at + 3)
  // No-break space, the spaces and dashes of U+2000 to U+203F, a byte order mark: they come with a paste.
  const isSpace =
    (code === 0xc2 && second === 0xa0) ||
    (code === 0xe2 && second === 0x80) ||
    (code === 0xef && second === 0xbb && third === 0xbf)
  return { size, code: isSpace ? undefined : foreign }
}
