import { aeadNamed, aeadNames, prepareKey, type Aead } from '../../core/aead/aead.ts'
import type { PreparedKey } from '../../core/aead/prepared-key.ts'
import { isKvxError } from '../../core/errors.ts'
import { compileLayout, type Layout } from '../../core/layout/layout.ts'
import { compileTemplate, type Template } from '../../core/layout/template.ts'
import type { Cell, Cells } from '../../stores/store.ts'
import type { TrialKey } from './find.ts'
import { bytesOf } from './sample.ts'

/** Where the parts of a value lie: one column, or several. */
export type Form = {
  readonly columns: readonly { readonly column: string; readonly layout: string }[]
  readonly words: string
  /** It repeats a number that could be the version of the key. */
  readonly isNumbered?: boolean
}

/** A form with everything that opened a value. */
export type Guess = { readonly form: Form; readonly aead: Aead; readonly aad: string | undefined }

export type Opened = { readonly guess: Guess; readonly key: TrialKey; readonly plaintext: Uint8Array }

const aeads = aeadNames.map((name) => aeadNamed(name))
const none = new Uint8Array(0)

/** Keys that are ready for each AEAD, so that thousands of trials make them once. */
export class TrialKeys {
  readonly keys: readonly TrialKey[]
  readonly #prepared = new Map<TrialKey, Map<Aead, PreparedKey>>()

  constructor(keys: readonly TrialKey[]) {
    this.keys = keys
  }

  prepared(key: TrialKey, aead: Aead): PreparedKey | undefined {
    if (key.material.length !== aead.keyLength) return undefined
    let own = this.#prepared.get(key)
    if (own === undefined) this.#prepared.set(key, (own = new Map()))
    let prepared = own.get(aead)
    if (prepared === undefined) own.set(aead, (prepared = prepareKey(aead, key.material)))
    return prepared
  }

  wipe(): void {
    for (const own of this.#prepared.values()) for (const prepared of own.values()) prepared.wipe()
    this.#prepared.clear()
  }
}

type Parts = {
  readonly nonce: Uint8Array
  readonly ct: Uint8Array
  readonly tag: Uint8Array
  readonly version: number | undefined
}

const layouts = new Map<string, Layout | undefined>()
const templates = new Map<string, Template | undefined>()
const remembered = 10_000

/** Compiled once; undefined for what the language refuses, such as an ambiguous one. */
function compiled<T>(
  known: Map<string, T | undefined>,
  source: string,
  compile: (source: string) => T,
): T | undefined {
  if (known.has(source)) return known.get(source)
  if (known.size >= remembered) known.clear()
  let result: T | undefined
  try {
    result = compile(source)
  } catch (error) {
    if (!isKvxError(error, 'LAYOUT_INVALID')) throw error
  }
  known.set(source, result)
  return result
}

function partsOf(form: Form, cells: Cells): Parts | undefined {
  const parts = new Map<string, Uint8Array | bigint>()
  for (const { column, layout } of form.columns) {
    const bytes = bytesOf(cells[column] ?? null)
    const known = compiled(layouts, layout, compileLayout)
    if (bytes === undefined || known === undefined) return undefined
    try {
      for (const [name, part] of known.parse(bytes)) parts.set(name, part)
    } catch (error) {
      if (isKvxError(error, 'LAYOUT_MISMATCH')) return undefined
      throw error
    }
  }
  const [nonce, ct, tag, version] = ['nonce', 'ct', 'tag', 'version'].map((name) => parts.get(name))
  if (!(nonce instanceof Uint8Array) || !(ct instanceof Uint8Array) || !(tag instanceof Uint8Array))
    return undefined
  return { nonce, ct, tag, version: typeof version === 'bigint' ? Number(version) : undefined }
}

function aadOf(source: string | undefined, cells: Cells): Uint8Array | undefined {
  if (source === undefined) return none
  const template = compiled(templates, source, compileTemplate)
  const cell = (name: string): Cell => cells[name] ?? null
  try {
    return template?.render({ cell, newCell: cell })
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return undefined
    throw error
  }
}

/**
 * The first of the keys and AEADs that opens a value laid out so. A number in the layout that is not the version
 * which opens it is no version of the key. The caller wipes the plaintext.
 */
export function tryForm(
  form: Form,
  cells: Cells,
  aad: string | undefined,
  keys: TrialKeys,
): Opened | undefined {
  const parts = partsOf(form, cells)
  const bound = aadOf(aad, cells)
  if (parts === undefined || bound === undefined) return undefined
  return tryParts(parts, { form, aad, bound }, keys)
}

/** The first of the forms that opens a value without AAD. Parts that several encodings give alike are tried once. */
export function tryForms(forms: readonly Form[], cells: Cells, keys: TrialKeys): Opened | undefined {
  const tried: Parts[] = []
  for (const form of forms) {
    const parts = partsOf(form, cells)
    if (parts === undefined || tried.some((one) => areSame(one, parts))) continue
    const opened = tryParts(parts, { form, aad: undefined, bound: none }, keys)
    if (opened !== undefined) return opened
    tried.push(parts)
  }
  return undefined
}

function areSame(one: Parts, other: Parts): boolean {
  return (
    one.version === other.version &&
    (['nonce', 'tag', 'ct'] as const).every((part) => Buffer.compare(one[part], other[part]) === 0)
  )
}

type Tried = { readonly form: Form; readonly aad: string | undefined; readonly bound: Uint8Array }

function tryParts(parts: Parts, { form, aad, bound }: Tried, keys: TrialKeys): Opened | undefined {
  for (const aead of aeads) {
    if (!aead.acceptsNonceLength(parts.nonce.length) || (bound.length > 0 && !aead.takesAad)) continue
    for (const key of keys.keys) {
      const prepared = keys.prepared(key, aead)
      if (prepared === undefined || (parts.version !== undefined && parts.version !== key.version)) continue
      const plaintext = aead.open(prepared, parts.nonce, parts, bound)
      if (plaintext !== undefined) return { guess: { form, aead, aad }, key, plaintext }
    }
  }
  return undefined
}

/** What a guess makes of another record: the version that opens it, or whether its shape fits at all. */
export function tryGuess(
  { form, aead, aad }: Guess,
  cells: Cells,
  keys: TrialKeys,
): { readonly key: TrialKey; readonly plaintext: Uint8Array } | 'sealed' | 'other' {
  const parts = partsOf(form, cells)
  if (parts === undefined) return 'other'
  const bound = aadOf(aad, cells)
  for (const key of bound === undefined ? [] : keys.keys) {
    const prepared = keys.prepared(key, aead)
    const plaintext = prepared && aead.open(prepared, parts.nonce, parts, bound ?? none)
    if (plaintext !== undefined) return { key, plaintext }
  }
  return 'sealed'
}
