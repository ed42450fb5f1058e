import { styleText } from 'node:util'

export type Stream = { readonly isTTY?: boolean }

export type Colours = {
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
}

const plain: Colours = { red: (t) => t, green: (t) => t, yellow: (t) => t, bold: (t) => t, dim: (t) => t }

const coloured: Colours = {
  red: (text) => styleText('red', text, { validateStream: false }),
  green: (text) => styleText('green', text, { validateStream: false }),
  yellow: (text) => styleText('yellow', text, { validateStream: false }),
  bold: (text) => styleText('bold', text, { validateStream: false }),
  dim: (text) => styleText('dim', text, { validateStream: false }),
}

/** Colours only on a terminal that wants them: a file, a pipe or NO_COLOR gets plain text. */
export function colours(stream: Stream): Colours {
  return stream.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb'
    ? coloured
    : plain
}
