import { type JsonValue, scanJson, stringIn } from '../../core/layout/json-scan.ts'
import { escapesIn, quotedJson } from '../../core/layout/json-text.ts'
import type { Cell } from '../store.ts'
import type { Edit, Member } from './format.ts'

/** Called for what cannot be used, with the offset in the text. */
export type Refuse = (at: number, reason: string) => never

/**
 * The names on the way to a member: a JSON pointer (RFC 6901) where the column begins with a slash, otherwise
 * names with dots between them. Undefined for what is neither.
 */
export function memberPath(column: string): readonly string[] | undefined {
  if (!column.startsWith('/')) {
    const names = column.split('.')
    return names.includes('') ? undefined : names
  }
  if (/~(?![01])/.test(column)) return undefined
  return column
    .slice(1)
    .split('/')
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** The column that leads to a member: names with dots between them, or a pointer where a name has a sign of its own. */
function columnOf(names: readonly string[], taken: readonly string[]): string {
  const dotted = names.join('.')
  const isPlain = names.every((name) => name !== '' && !/[./~]/.test(name)) && !taken.includes(dotted)
  if (isPlain) return dotted
  return names.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}

/** One object of JSON in its bytes, read once. */
export class JsonObject {
  readonly #bytes: Buffer
  readonly #root: JsonValue
  readonly #refuse: Refuse

  constructor(bytes: Buffer, refuse: Refuse) {
    this.#bytes = bytes
    this.#refuse = refuse
    this.#root = scanJson(bytes, refuse)
    if (this.#root.kind !== 'object') refuse(this.#root.start, 'the document is not an object')
  }

  /**
   * The member as a cell: strings are text, integers bigint, other numbers number; null and a missing member are
   * null; objects, arrays, true and false are bytes, their JSON as it stands there.
   * @param isSampled a way through what is no object leads to nothing, and is not refused
   */
  cell(column: string, isSampled = false): Cell {
    const value = this.#find(column, isSampled)
    if (value === undefined) return null
    const text = this.#bytes.subarray(value.start, value.end)
    if (value.kind === 'string') return stringIn(this.#bytes, value)
    if (value.kind === 'number') return this.#number(value, text.toString('latin1'))
    return text.equals(Buffer.from('null')) ? null : Buffer.from(text)
  }

  /**
   * Every member that has a name, objects before what is in them. Arrays have no names for their elements.
   * @param taken columns that mean something else, so that members called so are reached by a pointer
   */
  members(taken: readonly string[]): readonly Member[] {
    const found: Member[] = []
    const visit = (object: JsonValue, names: readonly string[]): void => {
      if (object.kind !== 'object') return
      for (const [name, value] of object.members) {
        const way = [...names, name]
        const kind = this.#kindOf(value)
        if (kind !== undefined) found.push({ column: columnOf(way, taken), kind })
        visit(value, way)
      }
    }
    visit(this.#root, [])
    return found
  }

  #kindOf(value: JsonValue): Member['kind'] | undefined {
    if (value.kind === 'array') return undefined
    if (value.kind === 'string') return 'text'
    if (value.kind !== 'word') return value.kind
    return this.#isNull(value) ? 'null' : 'truth'
  }

  /** Offset of the member, for messages; of the document where it is missing. */
  offset(column: string): number {
    return (this.#find(column) ?? this.#root).start
  }

  /** What to write where the member stands; nothing when it holds the cell already. */
  edit(column: string, cell: Cell): readonly Edit[] {
    if (sameCell(this.cell(column), cell)) return []
    const value = this.#find(column)
    if (value === undefined)
      return this.#refuse(this.#root.start, `member ${column} is missing, so it cannot change`)
    return [{ start: value.start, end: value.end, bytes: this.#written(column, cell) }]
  }

  #find(column: string, isSampled = false): JsonValue | undefined {
    let value: JsonValue | undefined = this.#root
    for (const name of memberPath(column) ?? []) {
      if (value === undefined || this.#isNull(value)) return undefined
      if (value.kind !== 'object' && isSampled) return undefined
      if (value.kind !== 'object')
        return this.#refuse(value.start, `${column} leads into something that is not an object`)
      value = value.members.get(name)
    }
    return value
  }

  #isNull({ kind, start }: JsonValue): boolean {
    return kind === 'word' && this.#bytes[start] === 0x6e
  }

  #number(value: JsonValue, text: string): Cell {
    if (/^-?\d+$/.test(text)) return BigInt(text)
    const number = Number(text)
    return Number.isFinite(number) ? number : this.#refuse(value.start, 'the number is too large')
  }

  #written(column: string, cell: Cell): Uint8Array {
    if (cell === null) return Buffer.from('null')
    if (typeof cell === 'string') {
      if (!cell.isWellFormed()) return Buffer.from(JSON.stringify(cell))
      return quotedJson(column, Buffer.from(cell, 'utf8'), escapesIn(this.#bytes))
    }
    if (cell instanceof Uint8Array) {
      scanJson(cell, (at) =>
        this.#refuse(this.offset(column), `the new bytes are not JSON from byte ${at} on`),
      )
      return cell
    }
    return Buffer.from(String(cell))
  }
}

/** Same kind and same bytes: text never equals bytes, an integer never a real. */
export function sameCell(one: Cell, other: Cell): boolean {
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other) === 0
  return one === other
}
