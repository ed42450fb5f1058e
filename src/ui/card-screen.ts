import { cardTitle, shareLines } from '../backup/cards/card.ts'
import { type QrMatrix, qrCode } from '../backup/cards/qr-code.ts'
import type { Share } from '../core/share/share-text.ts'

/** Around a code on a screen two modules are enough: nothing lies near it. */
const border = 2

/** A share for an 80 by 24 terminal: its QR code at the left, its four lines at the right. */
export async function cardScreen(share: Share, last: string): Promise<readonly string[]> {
  const lines = shareLines(share)
  const picture = halfBlocks(await qrCode(lines.join('').replaceAll(' ', ''), 'low'))
  const beside = [
    `set ${share.setId.toUpperCase()}  check value ${share.checkValue}`,
    '',
    ...lines.flatMap((line, at) => [`${at + 1}  ${line}`, '']),
    'Copy it by hand. No photograph.',
  ]
  const middle = picture.map((row, at) => `${row}  ${beside[at - 3] ?? ''}`)
  return [`${cardTitle(share)} (any ${share.threshold} rebuild the key)`, ...middle, '', last]
}

/** Two rows of modules a line, dark on white whatever the colours of the terminal are. */
function halfBlocks(code: QrMatrix): readonly string[] {
  const side = code.length + 2 * border
  const isDark = (row: number, column: number): boolean => code[row - border]?.[column - border] === true
  return Array.from({ length: Math.ceil(side / 2) }, (_, at) => {
    const signs = Array.from({ length: side }, (_, column) => {
      const [upper, lower] = [isDark(2 * at, column), isDark(2 * at + 1, column)]
      if (upper) return lower ? '█' : '▀'
      return lower ? '▄' : ' '
    })
    return `\x1b[30;107m${signs.join('')}\x1b[0m`
  })
}
