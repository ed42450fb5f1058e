import { setImmediate } from 'node:timers/promises'
import type { StoreConfig } from '../../config/stores.ts'
import type { StoredRecord } from '../../stores/store.ts'
import { aeadNamed } from '../../core/aead/aead.ts'
import { stopIfInterrupted } from '../events.ts'
import { declarationOf, envelopeName, sealedText } from './declaration.ts'
import { type Declared, fold, sameTable } from './declared.ts'
import type { Confidence, Find, Level } from './find.ts'
import type { Inner } from './inner-key.ts'
import { looksOf } from './marks.ts'
import { bytesOf, type Sample } from './sample.ts'
import { type KeysFor, searchColumn, searchSpread, type Tally, tallyOf } from './search.ts'
import { structuresOf } from './structures.ts'
import type { Guess, TrialKeys } from './trial.ts'
import { keysBelow } from './wrapped.ts'

export type Examination = {
  readonly name: string
  readonly config: StoreConfig
  readonly sample: Sample
  readonly keys: TrialKeys
  /** What is declared in this place, whatever the store is called there. */
  readonly declared: readonly Declared[]
  /** Names of envelopes; those that are proposed are added. */
  readonly taken: Set<string>
}

/** Columns with a guess that opens them. */
type Hit = { readonly guess: Guess; readonly tally: Tally; readonly columns: readonly string[] }

/** Finds of one table, the certain ones first. */
export async function examineTable(examination: Examination): Promise<readonly Find[]> {
  const table = new Table(examination)
  const keysFor: KeysFor = () => examination.keys
  const direct = await table.hitsUnder(keysFor)
  const finds: Find[] = []
  for (const hit of direct) {
    const inner = innerOf(hit.tally)
    const below = inner === undefined ? [] : await table.hitsBelow(hit.guess, inner, keysFor)
    finds.push(...table.findsOf(hit, inner, below))
  }
  for (const { envelope, columns } of table.declaredHere) {
    finds.push(...(await table.findsUnderDeclared(envelope, columns, keysFor)))
  }
  return [...finds, ...table.unopened()]
}

/** A column that opens to keys throughout. */
function innerOf({ inners }: Tally): Inner | undefined {
  return inners.size === 1 ? [...inners][0] : undefined
}

class Table {
  readonly #on: Examination
  /** Columns that are explained by a find. */
  readonly #explained = new Set<string>()

  constructor(examination: Examination) {
    this.#on = examination
  }

  get #columns(): readonly string[] {
    // What lies inside of an object comes before the object.
    const names = this.#on.sample.table.columns.map(({ name }) => name)
    return names.toSorted((one, other) => depth(other) - depth(one))
  }

  get declaredHere(): readonly Declared[] {
    const { table } = this.#on.sample
    const { driver } = this.#on.config
    const isFiles = driver === 'directory' || driver === 's3'
    return this.#on.declared.filter((one) => isFiles || sameTable(one.table, table.table))
  }

  /** Records whose column nobody declared, and that have a value there. */
  #open(column: string): readonly StoredRecord[] {
    if (this.#isExplained(column)) return []
    const { idColumns, records } = this.#on.sample
    const name = fold(column)
    const declared = this.declaredHere.filter(({ columns }) =>
      [...columns].some((known) => known === name || isInside(known, name) || isInside(name, known)),
    )
    return records.filter(
      ({ id, cells }) =>
        bytesOf(cells[column] ?? null) !== undefined && !declared.some((one) => one.covers(idColumns, id)),
    )
  }

  /** Also true for an object around what was found, and for what lies inside of it. */
  #isExplained(column: string): boolean {
    return [...this.#explained].some(
      (known) => known === column || isInside(known, column) || isInside(column, known),
    )
  }

  async hitsUnder(keysFor: KeysFor): Promise<readonly Hit[]> {
    const { sample } = this.#on
    const hits: Hit[] = []
    for (const column of this.#columns) {
      await setImmediate()
      stopIfInterrupted(undefined)
      const records = this.#open(column)
      const guess = searchColumn(sample, records, column, keysFor)
      if (guess !== undefined) hits.push(this.#hit(guess, records, keysFor))
    }
    const spread = this.#spread(keysFor)
    return spread === undefined ? hits : [...hits, spread]
  }

  #spread(keysFor: KeysFor): Hit | undefined {
    const columns = this.#columns.filter((column) => this.#open(column).length > 0)
    const records = this.#on.sample.records.filter((record) =>
      columns.some((column) => this.#open(column).includes(record)),
    )
    const guess = columns.length < 2 ? undefined : searchSpread(this.#on.sample, records, columns, keysFor)
    return guess && this.#hit(guess, records, keysFor)
  }

  #hit(guess: Guess, records: readonly StoredRecord[], keysFor: KeysFor): Hit {
    const columns = guess.form.columns.map(({ column }) => column)
    for (const column of columns) this.#explained.add(column)
    return { guess, tally: tallyOf(this.#on.sample, records, guess, keysFor), columns }
  }

  /** Columns that open with the key which the wrapped one of the same record holds. */
  async hitsBelow(guess: Guess, inner: Inner, keysFor: KeysFor): Promise<readonly Hit[]> {
    const below = keysBelow(this.#on.sample, { guess, inner }, keysFor)
    try {
      return await this.hitsUnder(below.keysFor)
    } finally {
      below.wipe()
    }
  }

  /** Values under the wrapped key of an envelope that does not name them. */
  async findsUnderDeclared(
    envelope: string,
    columns: ReadonlySet<string>,
    keysFor: KeysFor,
  ): Promise<readonly Find[]> {
    const { sample } = this.#on
    for (const column of this.#columns.filter((name) => columns.has(fold(name)))) {
      const records = sample.records.filter(({ cells }) => bytesOf(cells[column] ?? null) !== undefined)
      const guess = searchColumn(sample, records, column, keysFor)
      const inner = guess && innerOf(tallyOf(sample, records, guess, keysFor))
      if (guess === undefined || inner === undefined) continue
      const hits = await this.hitsBelow(guess, inner, keysFor)
      return hits.map((hit) => ({
        ...this.#find(hit, 'below'),
        belongsTo: envelope,
        notes: [
          `it opens with the wrapped key of ${envelope}: add ${sealedText(hit.guess)} to \`value\` there, which then is a list`,
        ],
      }))
    }
    return []
  }

  findsOf(hit: Hit, inner: Inner | undefined, below: readonly Hit[]): readonly Find[] {
    const { name, config, sample, taken } = this.#on
    const level: Level = inner === undefined ? 'key' : 'wrapped-key'
    const find = this.#find(hit, level)
    const last = (below.length === 0 ? hit : below[0])?.columns[0] ?? ''
    const envelope = envelopeName([name, sample.table.table, last], taken)
    const key = [...hit.tally.keys][0]?.name
    const isDek = inner !== undefined && below.length > 0
    const notes = [
      ...find.notes,
      ...(inner !== undefined && below.length === 0
        ? ['what it opens to has the length of a key: values that it wraps may lie elsewhere']
        : []),
      ...(sample.table.id === undefined ? [noId] : []),
    ]
    if (key === undefined || sample.table.id === undefined) return [{ ...find, notes }]
    taken.add(envelope)
    const declaration = declarationOf({
      name: envelope,
      store: name,
      config,
      table: sample.table,
      key,
      plaintext: [hit, ...below].some(({ tally }) => tally.other > 0),
      dek: isDek ? { guess: hit.guess, inner } : undefined,
      values: isDek ? below.map(({ guess }) => guess) : [hit.guess],
    })
    const values = below.map((one) => ({ ...this.#find(one, 'below'), belongsTo: envelope }))
    return [{ ...find, notes, declaration }, ...values]
  }

  #find({ guess, tally, columns }: Hit, level: Level): Find {
    const { name, sample } = this.#on
    const bound = guess.aad === undefined ? '' : `, bound to ${guess.aad}`
    const notes = [
      ...(tally.sealed === 0 ? [] : [`${tally.sealed} of the same shape open with no known key`]),
      ...(guess.form.isNumbered === true ? [numberNote] : []),
    ]
    return {
      store: name,
      table: sample.table.table,
      columns,
      records: sample.table.records,
      looked: tally.looked,
      looks: `${guess.form.words} (${guess.aead.name}${bound})`,
      opens: Object.fromEntries(tally.opens),
      level,
      confidence: 'certain',
      belongsTo: undefined,
      declaration: undefined,
      notes,
    }
  }

  /** What nothing opens, and yet looks sealed. */
  unopened(): readonly Find[] {
    return this.#columns.flatMap((column) => {
      const values = this.#open(column).flatMap(({ cells }) => bytesOf(cells[column] ?? null) ?? [])
      const looks = looksOf(values, column)
      if (looks === undefined) return []
      this.#explained.add(column)
      return [this.#unknown(column, values, looks)]
    })
  }

  #unknown(
    column: string,
    values: readonly Buffer[],
    looks: { readonly words: string; readonly confidence: Confidence },
  ): Find {
    const { name, sample } = this.#on
    const declaration = this.#guessed(column, values)
    return {
      store: name,
      table: sample.table.table,
      columns: [column],
      records: sample.table.records,
      looked: values.length,
      looks: looks.words,
      opens: {},
      level: 'unknown',
      confidence: looks.confidence,
      belongsTo: undefined,
      declaration,
      notes: [
        ...(declaration === undefined
          ? []
          : ['its layout and key are guesses by its structure: nothing opened it']),
        ...(sample.table.id === undefined ? [noId] : []),
      ],
    }
  }

  /** A declaration to begin with; what repeats a part of a value is left out. */
  #guessed(column: string, values: readonly Buffer[]): string | undefined {
    const { name, config, sample, keys, taken } = this.#on
    const [value] = values
    const [key] = keys.keys
    const structure = value && structuresOf(value, []).find(({ repeats }) => repeats !== true)
    if (structure === undefined || key === undefined || sample.table.id === undefined) return undefined
    const aead = aeadNamed(structure.layout.includes('nonce:24') ? 'xchacha20-poly1305' : 'aes-256-gcm')
    const form = { columns: [{ column, layout: structure.layout }], words: structure.words }
    const envelope = envelopeName([name, sample.table.table, column], taken)
    taken.add(envelope)
    return declarationOf({
      name: envelope,
      store: name,
      config,
      table: sample.table,
      key: key.name,
      plaintext: false,
      dek: undefined,
      values: [{ form, aead, aad: undefined }],
    })
  }
}

const numberNote =
  'the layout keeps a number that stands before the sealed bytes: if it is the version of the key there, write dec(version) or u8(version) in its place'

const noId =
  'no columns of this table are unique and never null: give it such a key before it can be declared'

function depth(name: string): number {
  return name.split(/[./]/).length
}

function isInside(inner: string, outer: string): boolean {
  return inner.startsWith(`${outer}.`) || inner.startsWith(`${outer}/`)
}
