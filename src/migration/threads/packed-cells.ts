import { cellsFrom } from '../../stores/cells-from.ts'
import type { Cell, Cells, StoredRecord } from '../../stores/store.ts'

/**
 * Many cells in a few objects. What goes to another thread is copied object by object, and a page of records is some
 * thousand of them: taking them apart and making them again took longer than a cipher does.
 */
type PackedCells = {
  /** One of {@link kinds} for each cell. */
  readonly kinds: Uint8Array
  /** Of each text and each blob. */
  readonly lengths: Uint32Array
  /** All texts one behind the other. */
  readonly text: string
  /** All blobs one behind the other. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** What is neither, and what is large: it costs its bytes anyway, and all of it may be more than one object holds. */
  readonly others: readonly Cell[]
}

const kinds = { text: 0, bytes: 1, other: 2 } as const
const largest = 4096

/** Cells by the names of their columns, and before them those without: the parts of an id. */
export type PackedRows = {
  readonly count: number
  readonly unnamed: number
  /** Names in their order, each list once: most pages have one. */
  readonly shapes: readonly (readonly string[])[]
  /** Which of them a row has. */
  readonly shapeOf: Uint32Array
  readonly cells: PackedCells
}

export function packRecords(records: readonly StoredRecord[]): PackedRows {
  return packRows(records, ({ id }) => id)
}

export function unpackRecords(packed: PackedRows): readonly StoredRecord[] {
  return unpackRows(packed).map(({ unnamed: id, cells }) => ({ id, cells }))
}

export function packChanges(changes: readonly Cells[]): PackedRows {
  const rows = changes.map((cells) => ({ cells }))
  return packRows(rows, () => [])
}

export function unpackChanges(packed: PackedRows): readonly Cells[] {
  return unpackRows(packed).map(({ cells }) => cells)
}

function packRows<Row extends { readonly cells: Cells }>(
  rows: readonly Row[],
  unnamedOf: (row: Row) => readonly Cell[],
): PackedRows {
  const packer = new Packer()
  const shapes: (readonly string[])[] = []
  const known = new Map<string, number>()
  const shapeOf = new Uint32Array(rows.length)
  let unnamed = 0
  rows.forEach((row, at) => {
    const cells = unnamedOf(row)
    if (at > 0 && cells.length !== unnamed) throw new TypeError('the ids of a page have the same columns')
    unnamed = cells.length
    for (const cell of cells) packer.add(cell)
    const names = Object.keys(row.cells)
    // Most rows have the shape of the one before.
    let shape = at === 0 ? 0 : (shapeOf[at - 1] ?? 0)
    if (!sameNames(names, shapes[shape])) {
      const id = JSON.stringify(names)
      shape = known.get(id) ?? shapes.length
      known.set(id, shape)
      shapes[shape] = names
    }
    shapeOf[at] = shape
    for (const name of names) packer.add(row.cells[name] ?? null)
  })
  return { count: rows.length, unnamed, shapes, shapeOf, cells: packer.end() }
}

function sameNames(names: readonly string[], others: readonly string[] | undefined): boolean {
  return names.length === others?.length && names.every((name, at) => name === others[at])
}

type UnpackedRow = { readonly unnamed: readonly Cell[]; readonly cells: Cells }

function unpackRows({ count, unnamed, shapes, shapeOf, cells: packed }: PackedRows): readonly UnpackedRow[] {
  const next = unpacker(packed)
  const rows: UnpackedRow[] = []
  for (let at = 0; at < count; at++) {
    const first: Cell[] = []
    for (let index = 0; index < unnamed; index++) first.push(next())
    const names = shapes[shapeOf[at] ?? 0] ?? []
    rows.push({ unnamed: first, cells: cellsFrom(names, next) })
  }
  return rows
}

class Packer {
  readonly #kinds: number[] = []
  readonly #lengths: number[] = []
  readonly #texts: string[] = []
  readonly #blobs: Uint8Array[] = []
  readonly #others: Cell[] = []
  #size = 0

  add(cell: Cell): void {
    if (typeof cell === 'string' && cell.length <= largest) {
      this.#kinds.push(kinds.text)
      this.#lengths.push(cell.length)
      this.#texts.push(cell)
    } else if (cell instanceof Uint8Array && cell.length <= largest) {
      this.#kinds.push(kinds.bytes)
      this.#lengths.push(cell.length)
      this.#blobs.push(cell)
      this.#size += cell.length
    } else {
      this.#kinds.push(kinds.other)
      this.#others.push(cell)
    }
  }

  end(): PackedCells {
    const bytes = new Uint8Array(this.#size)
    let end = 0
    for (const blob of this.#blobs) {
      bytes.set(blob, end)
      end += blob.length
    }
    return {
      kinds: Uint8Array.from(this.#kinds),
      lengths: Uint32Array.from(this.#lengths),
      text: this.#texts.join(''),
      bytes,
      others: this.#others,
    }
  }
}

/** Gives the cells in their order, each blob as a part of the one buffer. */
function unpacker({ kinds: kindOf, lengths, text, bytes, others }: PackedCells): () => Cell {
  let [cell, piece, other, inText, inBytes] = [0, 0, 0, 0, 0]
  return () => {
    const kind = kindOf[cell++]
    if (kind === kinds.other) return others[other++] ?? null
    const length = lengths[piece++] ?? 0
    if (kind === kinds.text) return text.slice(inText, (inText += length))
    inBytes += length
    return new Uint8Array(bytes.buffer, bytes.byteOffset + inBytes - length, length)
  }
}
