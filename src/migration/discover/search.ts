import type { Cells, StoredRecord } from '../../stores/store.ts'
import { assignments } from './assignments.ts'
import { associatedData } from './associated.ts'
import { decodings } from './decodings.ts'
import { subjectOf, type TrialKey } from './find.ts'
import { type Inner, innerOf } from './inner-key.ts'
import { bytesOf, type Sample } from './sample.ts'
import { structuresOf } from './structures.ts'
import { type Form, type Guess, type Opened, tryForm, tryGuess, type TrialKeys } from './trial.ts'

/** The keys for one record: the same for all where they are configured, its own where it carries a wrapped one. */
export type KeysFor = (record: StoredRecord) => TrialKeys | undefined

/** Values that are searched one by one: different ones tell more than many. */
const probes = 8
const boundProbes = 2
const boundForms = 24
const longestTried = 8 * 1_048_576
/** Nonce, tag and one byte. */
const shortest = 8 + 16 + 1

/** The columns of a record with its id, as templates see them. */
export function stateOf({ idColumns }: Pick<Sample, 'idColumns'>, record: StoredRecord): Cells {
  return {
    ...Object.fromEntries(idColumns.map((name, at) => [name, record.id[at] ?? null])),
    ...record.cells,
  }
}

/**
 * Looks for the way in which a column's values are sealed. Trial opening decides; the plaintext is wiped.
 * @returns undefined when nothing opens
 */
export function searchColumn(
  sample: Sample,
  records: readonly StoredRecord[],
  column: string,
  keysFor: KeysFor,
): Guess | undefined {
  const values = records.flatMap((record) => {
    const bytes = bytesOf(record.cells[column] ?? null)
    return bytes === undefined || bytes.length < shortest || bytes.length > longestTried
      ? []
      : [{ record, bytes }]
  })
  const peers = values.slice(0, 50).map(({ bytes }) => bytes)
  const declared = (sample.known ?? []).map(({ envelope, layout }): Form => {
    return { columns: [{ column, layout }], words: `as ${envelope} declares it` }
  })
  const chosen = spread(values, probes).map(({ record, bytes }) => {
    const guessed = structuresOf(bytes, peers).map(
      ({ layout, words, isNumbered = false }): Form => ({ columns: [{ column, layout }], words, isNumbered }),
    )
    // Guesses come first: their words say more.
    return { record, forms: [...guessed, ...declared] }
  })
  return searchForms(sample, chosen, column, keysFor)
}

type Probe = { readonly record: StoredRecord; readonly forms: readonly Form[] }

/** Something that opens, and how many of the probes it opens. */
type Rated = { readonly guess: Guess; readonly opened: number; readonly isBest: boolean }

/**
 * The guess that opens most of the probes: one value alone can fit a layout by chance, as text in base64url does
 * that has no sign of its own.
 */
function searchForms(
  sample: Sample,
  chosen: readonly Probe[],
  column: string,
  keysFor: KeysFor,
): Guess | undefined {
  const rate = (guess: Guess): Rated => {
    const opened = countOpened(sample, chosen, guess, keysFor)
    return { guess, opened, isBest: opened === chosen.length }
  }
  const best =
    bestOf(chosen, (probe) => unboundGuesses(sample, probe, keysFor), rate) ??
    bestOf(chosen.slice(0, boundProbes), (probe) => boundGuesses(sample, probe, column, keysFor), rate)
  return best?.guess
}

function bestOf(
  chosen: readonly Probe[],
  guesses: (probe: Probe) => Iterable<Guess>,
  rate: (guess: Guess) => Rated,
): Rated | undefined {
  let best: Rated | undefined
  for (const probe of chosen) {
    for (const guess of guesses(probe)) {
      const rated = rate(guess)
      if (best === undefined || rated.opened > best.opened) best = rated
      if (best.isBest) return best
    }
  }
  return best
}

function* unboundGuesses(sample: Sample, { record, forms }: Probe, keysFor: KeysFor): Generator<Guess> {
  const keys = keysFor(record)
  if (keys === undefined) return
  const cells = stateOf(sample, record)
  for (const form of forms) {
    const found = settled(tryForm(form, cells, undefined, keys))
    if (found !== undefined) yield found
  }
}

function* boundGuesses(
  sample: Sample,
  { record, forms }: Probe,
  column: string,
  keysFor: KeysFor,
): Generator<Guess> {
  const keys = keysFor(record)
  if (keys === undefined) return
  const { idColumns, table } = sample
  const cells = stateOf(sample, record)
  const bound = associatedData({ table: table.table, column, idColumns, cells })
  for (const form of forms.slice(0, boundForms)) {
    for (const aad of bound) {
      const found = settled(tryForm(form, cells, aad, keys))
      if (found !== undefined) yield found
    }
  }
}

function countOpened(sample: Sample, chosen: readonly Probe[], guess: Guess, keysFor: KeysFor): number {
  return chosen.filter(({ record }) => {
    const keys = keysFor(record)
    const result = keys === undefined ? 'other' : tryGuess(guess, stateOf(sample, record), keys)
    if (typeof result === 'string') return false
    result.plaintext.fill(0)
    return true
  }).length
}

function settled(opened: Opened | undefined): Guess | undefined {
  opened?.plaintext.fill(0)
  return opened?.guess
}

/** So many of them, from all places of the list. */
function spread<T>(list: readonly T[], count: number): readonly T[] {
  if (list.length <= count) return list
  return Array.from({ length: count }, (_, at) => list[Math.floor((at * list.length) / count)]).filter(
    (one) => one !== undefined,
  )
}

const mostCombinations = 200

/** The same for a value whose parts lie in several columns: a nonce here, a tag there, the ciphertext in a third. */
export function searchSpread(
  sample: Sample,
  records: readonly StoredRecord[],
  columns: readonly string[],
  keysFor: KeysFor,
): Guess | undefined {
  const chosen = spread(
    records.filter(({ cells }) => columns.filter((column) => cells[column] !== null).length > 1),
    3,
  )
  const all = chosen.map((record) => ({ record, forms: spreadForms(record.cells, columns) }))
  return searchForms(sample, all, columns[0] ?? '', keysFor)
}

type Piece = { readonly column: string; readonly codec: string | undefined; readonly size: number }

function spreadForms(cells: Cells, columns: readonly string[]): readonly Form[] {
  const pieces = columns.map((column) => piecesOf(column, cells)).filter((each) => each.length > 0)
  const forms: { readonly form: Form; readonly rank: number }[] = []
  for (const some of combinations(pieces)) {
    for (const { names, rank } of assignments(some.map(({ size }) => size))) {
      const written = some.map(({ column, codec }, at) => {
        const part = names[at] ?? ''
        return { column, layout: codec === undefined ? part : `${codec}(${part})` }
      })
      forms.push({ form: { columns: written, words: `parts in ${some.length} columns` }, rank })
    }
  }
  return forms
    .sort((one, other) => one.rank - other.rank)
    .slice(0, mostCombinations)
    .map(({ form }) => form)
}

function piecesOf(column: string, cells: Cells): readonly Piece[] {
  const cell = cells[column] ?? null
  const bytes = bytesOf(cell)
  if (bytes === undefined || bytes.length > longestTried) return []
  const decoded = decodings(bytes, 2)
    .slice(0, 2)
    .map(({ codec, bytes: inner }): Piece => ({ column, codec: codec.name, size: inner.length }))
  return typeof cell === 'string' ? decoded : [...decoded, { column, codec: undefined, size: bytes.length }]
}

function* combinations(pieces: readonly (readonly Piece[])[]): Generator<readonly Piece[]> {
  for (const [one, first] of pieces.entries()) {
    for (const [two, second] of pieces.entries()) {
      if (two <= one) continue
      for (const a of first) for (const b of second) yield [a, b]
      for (const third of pieces.slice(two + 1)) {
        for (const a of first) for (const b of second) for (const c of third) yield [a, b, c]
      }
    }
  }
}

/** What a guess makes of every record of the sample. */
export type Tally = {
  /** Values under each version, by NAME@VERSION. */
  readonly opens: ReadonlyMap<string, number>
  readonly keys: ReadonlySet<TrialKey>
  /** Of the layout's shape, and opened by nothing. */
  readonly sealed: number
  /** Of another shape: plaintext, or sealed in another way. */
  readonly other: number
  /** How what was opened can be a key; undefined where it can't. */
  readonly inners: ReadonlySet<Inner | undefined>
  readonly looked: number
}

export function tallyOf(
  sample: Sample,
  records: readonly StoredRecord[],
  guess: Guess,
  keysFor: KeysFor,
): Tally {
  const opens = new Map<string, number>()
  const keys = new Set<TrialKey>()
  const inners = new Set<Inner | undefined>()
  let [sealed, other, looked] = [0, 0, 0]
  for (const record of records) {
    const cells = stateOf(sample, record)
    const present = guess.form.columns.filter(({ column }) => bytesOf(cells[column] ?? null) !== undefined)
    const own = keysFor(record)
    if (present.length === 0 || own === undefined) continue
    looked++
    const result = tryGuess(guess, cells, own)
    if (result === 'sealed') sealed++
    else if (result === 'other') other++
    else {
      const subject = subjectOf(result.key)
      opens.set(subject, (opens.get(subject) ?? 0) + 1)
      keys.add(result.key)
      inners.add(innerOf(result.plaintext))
      result.plaintext.fill(0)
    }
  }
  return { opens, keys, sealed, other, inners, looked }
}
