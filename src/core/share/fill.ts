import { checkLength, errorPattern, syndromeOf } from './bch.ts'
import { alphabet, inverse, multiply, valueOf } from './gf32.ts'
import { shareFault } from './faults.ts'
import { requireForm } from './share-text.ts'
import { normaliseShare, shareLength, sharePrefix, unreadable } from './typed-text.ts'

/** A share text whose `?` were worked out. A person must agree before it is used; the caller wipes `text`. */
export type FilledShare = {
  readonly text: Uint8Array
  /** Places of the filled characters, counted from 0 with the prefix. */
  readonly at: readonly number[]
}

const mostAnywhere = 8
const longestRun = checkLength

/**
 * Works out up to 8 characters that were marked `?`, or 13 in a row, from the checksum. Uses up its power to
 * show errors: the result needs a yes, and a digest or fingerprint from elsewhere.
 * @throws KvxError DAMAGED with the fault UNREADABLE (too many), CHECKSUM (something else is wrong as well), or of
 * the text's form
 */
export function fillUnreadable(typed: Uint8Array): FilledShare {
  const text = normaliseShare(typed)
  try {
    requireForm(text)
  } catch (error) {
    text.fill(0)
    throw error
  }
  const at = [...text.keys()].filter((index) => text[index] === unreadable)
  const span = (at.at(-1) ?? 0) - (at[0] ?? 0) + 1
  if (at.length > mostAnywhere && span > longestRun) {
    text.fill(0)
    throw shareFault('UNREADABLE', `${at.length} unreadable characters are too many to work out`, {
      at,
      hint: 'at most 8, or 13 in a row: read the card again under better light',
    })
  }
  sharePrefix.forEach((code, index) => (text[index] = code))
  const unknown = at.filter((index) => index >= sharePrefix.length)
  const values = Uint8Array.from(text.subarray(sharePrefix.length), (code) => Math.max(valueOf(code), 0))
  const solution = solve(
    unknown.map((index) => errorPattern(1, shareLength - 1 - index)),
    syndromeOf(values),
  )
  values.fill(0)
  if (solution === undefined) {
    text.fill(0)
    throw shareFault('CHECKSUM', 'the share is damaged in other characters than those marked as unreadable', {
      hint: 'read the card again',
    })
  }
  unknown.forEach((index, column) => (text[index] = alphabet[solution[column] ?? 0] ?? 0))
  return { text, at }
}

/** The one solution of `sum of columns[i] * x[i] = right` over GF(32), by elimination; undefined without exactly one. */
function solve(columns: readonly Uint8Array[], right: Uint8Array): Uint8Array | undefined {
  const width = columns.length
  const rows = Array.from({ length: checkLength }, (_, row) =>
    Uint8Array.from([...columns.map((column) => column[row] ?? 0), right[row] ?? 0]),
  )
  for (let column = 0; column < width; column++) {
    const pivot = rows.findIndex((row, index) => index >= column && row[column] !== 0)
    const found = rows[pivot]
    const here = rows[column]
    if (found === undefined || here === undefined) return undefined
    rows[pivot] = here
    const factor = inverse(found[column] ?? 0)
    const scaled = found.map((value) => multiply(value, factor))
    rows[column] = scaled
    for (const [index, row] of rows.entries()) {
      const times = row[column] ?? 0
      if (index === column || times === 0) continue
      rows[index] = row.map((value, place) => value ^ multiply(times, scaled[place] ?? 0))
    }
  }
  if (rows.slice(width).some((row) => row[width] !== 0)) return undefined
  return Uint8Array.from({ length: width }, (_, index) => rows[index]?.[width] ?? 0)
}
