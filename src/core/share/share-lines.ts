import { isOfRehearsal, normaliseShare, sharePrefix, wholeLength } from './typed-text.ts'

/** First line of what is encrypted to a custodian. A reader that meets it knows where the share stands. */
export const letterTitle = 'kvx-key-share v1'

const newline = 0x0a
const mostBytes = 4096

/**
 * The texts of several shares, one a line or in the 4 lines of a card, or whole opened messages to custodians.
 * Only where they stand is found here: each text is judged when it is decoded. The caller wipes them.
 */
export function splitShareTexts(bytes: Uint8Array): readonly Uint8Array[] {
  const texts: Uint8Array[] = []
  let current: Uint8Array = new Uint8Array(0)
  let inLetter = false
  let waiting = false
  const finish = (): void => {
    if (lengthOf(current) > 0) texts.push(current)
    current = new Uint8Array(0)
    waiting = inLetter
  }
  for (const line of linesOf(bytes)) {
    if (isTitle(line)) {
      finish()
      inLetter = true
      waiting = true
      continue
    }
    const begins = beginsShare(line)
    if (waiting && !begins) continue
    if (begins) {
      finish()
      waiting = false
    }
    const longer = Buffer.concat([current, line, Buffer.from('\n')])
    current.fill(0)
    current = longer.length > mostBytes ? longer.subarray(0, mostBytes) : longer
    if (isWhole(current)) finish()
  }
  finish()
  return texts
}

function* linesOf(bytes: Uint8Array): Generator<Uint8Array> {
  let from = 0
  for (let at = 0; at <= bytes.length; at++) {
    const code = bytes[at]
    if (at < bytes.length && code !== newline && code !== 0x0d) continue
    if (at > from) yield bytes.subarray(from, at)
    from = at + 1
  }
}

function isTitle(line: Uint8Array): boolean {
  return Buffer.from(line.buffer, line.byteOffset, line.length).equals(Buffer.from(letterTitle))
}

function beginsShare(line: Uint8Array): boolean {
  const text = normaliseShare(line)
  const begins = sharePrefix.every((code, at) => text[at] === code) || isOfRehearsal(text)
  text.fill(0)
  return begins
}

/** True when a text has as many characters as a share, or more. */
export function isWhole(typed: Uint8Array): boolean {
  const text = normaliseShare(typed)
  const whole = text.length >= wholeLength(text)
  text.fill(0)
  return whole
}

/** Characters that a text has without its separators. */
export function lengthOf(typed: Uint8Array): number {
  const text = normaliseShare(typed)
  text.fill(0)
  return text.length
}
