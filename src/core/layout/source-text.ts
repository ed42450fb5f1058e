import { KvxError } from '../errors.ts'

/** From `start` up to but not including `end`, in UTF-16 units of the source. */
export type Span = { readonly start: number; readonly end: number }

/**
 * What an expression is for. A layout is read and written; the others are only written: a template from columns
 * and parts, a derivation from the key besides, and a mac from the parts and the associated data of one value.
 * A plaintext is no expression but the tests of one, with the same words for bytes.
 */
export type Kind = 'layout' | 'template' | 'derivation' | 'mac' | 'plaintext'

/** The text of an expression, and the one place where its errors are made. */
export class SourceText {
  readonly kind: Kind
  readonly text: string

  constructor(kind: Kind, text: string) {
    this.kind = kind
    this.text = text
  }

  /** The text of a span on one line, cut after 60 characters. */
  slice(span: Span): string {
    const text = visible(this.text.slice(span.start, span.end).replace(/\s+/g, ' ').trim())
    return text.length > 60 ? `${text.slice(0, 59)}…` : text
  }

  /**
   * LAYOUT_INVALID with the line and a caret under the place.
   * @param hint what to write instead
   */
  error(span: Span, message: string, hint: string): KvxError {
    const before = this.text.slice(0, span.start).split('\n')
    const line = this.text.split('\n')[before.length - 1] ?? ''
    const column = before.at(-1)?.length ?? 0
    const place = `${this.kind}, line ${before.length}, column ${column + 1}`
    const excerpt = line.trim() === '' ? '' : excerptOf(line, column, span.end - span.start)
    return new KvxError('LAYOUT_INVALID', `${place}: ${message}${excerpt}`, {
      hint,
      details: { line: before.length, column: column + 1 },
    })
  }
}

const widest = 120

/** The line, or as much of a long one as a terminal shows, and below it the carets. */
function excerptOf(line: string, column: number, length: number): string {
  const start = line.length > widest ? Math.max(0, Math.min(column - 20, line.length - widest)) : 0
  const before = (start > 0 ? '…' : '') + line.slice(start, column)
  const marked = line.slice(column, Math.min(column + length, start + widest))
  const after = line.slice(column + marked.length, start + widest)
  const more = start + widest < line.length ? '…' : ''
  const carets = ' '.repeat(wide(before)) + '^'.repeat(Math.max(1, wide(marked)))
  return `\n  ${visible(before + marked + after)}${more}\n  ${carets}`
}

// oxlint-disable-next-line no-control-regex -- these are what must not reach a terminal
const invisible = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

/** A line as a terminal may show it. */
function visible(line: string): string {
  return line.toWellFormed().replace(/\t/g, ' ').replace(/\r$/, '').replace(invisible, '\ufffd')
}

/** Characters, not UTF-16 units. */
function wide(text: string): number {
  return Array.from(text).length
}
