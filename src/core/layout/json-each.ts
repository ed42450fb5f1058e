import { KvxError } from '../errors.ts'
import { joined } from './field.ts'
import { escapesIn, quotedJson, type Escapes } from './json-text.ts'
import { scanJson, stringIn, type JsonValue } from './json-scan.ts'
import { mismatch } from './values.ts'

/** One place that a pattern reaches in a document. */
export type Place = {
  /** Where it is, in the notation of the pattern: `OPENAI_KEY.value`, `/items/0/secret`. */
  readonly path: string
  /** The characters of a string as UTF-8, or the JSON of anything else as it stands there. */
  readonly bytes: Uint8Array
  readonly kind: 'string' | 'other'
}

/** Takes the values of a document apart that are alike: one for each member, or element, that `*` stands for. */
export type Each = {
  readonly pattern: string
  /** @throws LAYOUT_MISMATCH for what is not JSON, or has a member twice */
  split(document: Uint8Array): readonly Place[]
  /**
   * Puts new values in, as text into strings and as JSON for anything else. Every other byte stays.
   * @param replacements by `path`, with the bytes as `split` gives them
   * @throws LAYOUT_MISMATCH for a path that the pattern does not reach, and for bytes that can't stand there
   */
  join(document: Uint8Array, replacements: ReadonlyMap<string, Uint8Array>): Uint8Array
}

const deepest = 64

/**
 * @param pattern names separated by dots (`*`, `*.value`, `items.*`), or a JSON pointer for
 * names with dots; `*` is every member of an object or element of an array
 * @throws CONFIG_INVALID
 */
export function compileEach(pattern: string): Each {
  const pointer = pattern.startsWith('/')
  const steps = stepsOf(pattern, pointer)
  return {
    pattern,
    split: (document) =>
      [...reached(scan(document), steps)].map(({ names, value }) => ({
        path: pathOf(names, pointer),
        bytes: contentOf(document, value),
        kind: value.kind === 'string' ? 'string' : 'other',
      })),
    join(document, replacements) {
      const missing = new Set(replacements.keys())
      const pieces: Uint8Array[] = []
      let at = 0
      const escapes = escapesIn(document)
      for (const { names, value } of reached(scan(document), steps)) {
        const path = pathOf(names, pointer)
        const replacement = replacements.get(path)
        if (replacement === undefined) continue
        missing.delete(path)
        pieces.push(document.subarray(at, value.start), written({ document, escapes }, value, replacement))
        at = value.end
      }
      if (missing.size > 0) throw mismatch(`the document has no place for ${missing.size} of the new values`)
      return joined([...pieces, document.subarray(at)])
    },
  }
}

/** A name, or undefined for `*`. */
type Step = string | undefined

function stepsOf(pattern: string, pointer: boolean): readonly Step[] {
  const names = pointer ? pattern.slice(1).split('/').map(unescaped) : pattern.split('.')
  const steps = names.map((name) => (name === '*' ? undefined : name))
  const wrong =
    !pointer && names.includes('')
      ? 'has an empty name'
      : steps.length > deepest
        ? `is more than ${deepest} names long`
        : steps.includes(undefined)
          ? undefined
          : 'has no *, so it reaches one value only'
  if (wrong === undefined) return steps
  throw new KvxError('CONFIG_INVALID', `the pattern of each ${wrong}`, {
    hint: 'write e.g. *, *.value, items.*.secret, or /items/*/secret for names with dots',
  })
}

/** RFC 6901. */
function unescaped(name: string): string {
  return name.replaceAll('~1', '/').replaceAll('~0', '~')
}

/** No two places have the same path: a dot in a name has a backslash before it. */
function pathOf(names: readonly string[], pointer: boolean): string {
  if (!pointer) return names.map((name) => name.replace(/[\\.]/g, '\\$&')).join('.')
  return names.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}

function scan(document: Uint8Array): JsonValue {
  return scanJson(document, (at, reason) => {
    throw mismatch(`the value is not the JSON that its pattern needs, at offset ${at}: ${reason}`, {
      offset: at,
    })
  })
}

type Reached = { readonly names: readonly string[]; readonly value: JsonValue }

/** In the order of the document. What has other members than the pattern says is left alone. */
function* reached(
  value: JsonValue,
  steps: readonly Step[],
  names: readonly string[] = [],
): Generator<Reached> {
  const [step, ...rest] = steps
  if (steps.length === 0) {
    yield { names, value }
    return
  }
  for (const [name, inner] of childrenOf(value)) {
    if (step === undefined || step === name) yield* reached(inner, rest, [...names, name])
  }
}

function childrenOf(value: JsonValue): Iterable<readonly [string, JsonValue]> {
  if (value.kind === 'object') return value.members
  if (value.kind === 'array') return value.elements.map((element, at) => [String(at), element] as const)
  return []
}

function contentOf(document: Uint8Array, value: JsonValue): Uint8Array {
  if (value.kind !== 'string') return new Uint8Array(document.subarray(value.start, value.end))
  // Half a character, as a text that was cut has, comes out as a replacement character: no sealed value has one.
  return new TextEncoder().encode(stringIn(document, value))
}

type Written = { readonly document: Uint8Array; readonly escapes: Escapes }

function written({ document, escapes }: Written, value: JsonValue, replacement: Uint8Array): Uint8Array {
  if (Buffer.from(contentOf(document, value)).equals(replacement)) {
    return document.subarray(value.start, value.end)
  }
  if (value.kind === 'string') return quotedJson('the string', replacement, escapes)
  scan(replacement)
  return replacement
}
