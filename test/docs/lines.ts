import type { Page } from './pages.ts'

/** A command line that a page shows to be typed, with the heading that it stands under. */
export type ShownLine = {
  readonly page: string
  readonly heading: string
  /** The block under its heading, from 1: text between two lines ends a block. */
  readonly block: number
  readonly line: string
}

/** Lines of shell blocks, and lines that four blanks make a block; output and comments are none. */
export function shownLines({ path, text }: Page): readonly ShownLine[] {
  const shown: ShownLine[] = []
  let [heading, block, isIn] = ['', 0, false]
  let fence: string | undefined
  for (const written of text.split('\n')) {
    const [, language] = /^```(\w*)$/.exec(written) ?? []
    if (language !== undefined) fence = fence === undefined ? language : undefined
    else if (fence === undefined && written.startsWith('#'))
      [heading, block] = [written.replace(/^#+ /, ''), 0]
    const line = typed(written, fence)
    if (line !== undefined) {
      if (!isIn) block++
      shown.push({ page: path, heading, block, line })
    }
    if (written !== '') isIn = line !== undefined || isShell(written, fence)
  }
  return shown
}

/** Output, or a line of another program, between two lines of kvx. */
function isShell(written: string, fence: string | undefined): boolean {
  return fence !== undefined || /^ {4,}\S/.test(written)
}

function typed(written: string, fence: string | undefined): string | undefined {
  const [, prompted] = /^\$ (.+)$/.exec(written) ?? []
  const [, indented] = /^ {4,}(\S.*)$/.exec(written) ?? []
  const candidate =
    fence === 'console' ? prompted : fence === 'sh' ? written : fence === undefined ? indented : undefined
  if (candidate === undefined || !/(^|\| |&& |do )kvx /.test(candidate)) return undefined
  return candidate.replace(/ {2,}\S.*$/, '')
}
