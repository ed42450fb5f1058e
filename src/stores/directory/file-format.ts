import { KvxError } from '../../core/errors.ts'
import { shapeError } from './directory-errors.ts'
import { type RecordFormat, requirePathId } from './format.ts'

const content = 'content'

/** One file, one value: the column `content` is its bytes, the id its path. */
export const fileFormat: RecordFormat = {
  whole: content,
  isShared: false,
  isOpaque: true,
  check(target, set) {
    requirePathId(target, set)
    const stranger = set.columns.find((column) => column !== content)
    if (stranger === undefined) return
    throw shapeError(target, `a file has no column ${stranger}`, {
      hint: 'a file is one value: say `column: content`, or `format: json` for documents with members',
    })
  },
  *records({ path, bytes }, set) {
    yield {
      id: [path],
      cells: Object.fromEntries(set.columns.map((column) => [column, bytes])),
      start: 0,
      end: bytes.length,
      edits: (change) => {
        const next = change[content]
        if (next === undefined) return []
        if (!(next instanceof Uint8Array)) throw new KvxError('BUG', 'the content of a file is bytes')
        return [{ start: 0, end: bytes.length, bytes: next }]
      },
    }
  },
}
