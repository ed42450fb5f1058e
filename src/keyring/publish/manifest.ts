import {
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseAllDocuments,
  type Scalar,
  type YAMLMap,
} from 'yaml'
import { KvxError } from '../../core/errors.ts'

/** Which Secret of a file is meant. */
export type SecretName = {
  readonly path: string
  readonly name: string
  readonly namespace: string | undefined
}

/** One Secret in a manifest. Places in it are offsets in bytes. */
export type SecretObject = {
  readonly map: YAMLMap
  /** Its map of values in base64; undefined where there is none, a scalar where it is empty. */
  readonly data: Pair | undefined
  /** Its map of plain values, which win over `data`. */
  readonly stringData: Pair | undefined
}

const structure = ['metadata', 'namespace', 'stringData', 'immutable', 'apiVersion']
const shortestMasked = 8

/**
 * Finds a Secret in a manifest of one or more documents, or in a List. The parser works with strings, so it never
 * sees the values: every run of digits of base64 is masked, except the names that are looked for. The text is
 * Latin-1, so that the parser's offsets are those of the bytes.
 * @throws CONFIG_INVALID when it is no YAML, has no such Secret or two of them, or one that nobody may change
 */
export function findSecret(bytes: Buffer, wanted: SecretName, keys: readonly string[]): SecretObject {
  const found = secretsOf(bytes, wanted, keys).filter(
    (map) =>
      map.getIn(['metadata', 'name']) === wanted.name &&
      (wanted.namespace === undefined || map.getIn(['metadata', 'namespace']) === wanted.namespace),
  )
  const [map, second] = found
  if (map === undefined) {
    throw invalid(
      wanted,
      `has no Secret named ${wanted.name}`,
      'Name the one that it has: `name:`, and `namespace:` where it matters.',
    )
  }
  if (second !== undefined) {
    throw invalid(
      wanted,
      `has two Secrets named ${wanted.name}`,
      'Say which one: `namespace:` beside `name:`.',
    )
  }
  if (map.has('sops')) {
    throw invalid(
      wanted,
      'is encrypted by SOPS, and a key in the clear would lie beside it',
      'Publish with a `command:` that calls sops.',
    )
  }
  return { map, data: pairOf(map, 'data', wanted), stringData: pairOf(map, 'stringData', wanted) }
}

/** @throws CONFIG_INVALID for a Secret that Kubernetes would refuse to change */
export function refuseImmutable(secret: SecretObject, wanted: SecretName): void {
  if (secret.map.get('immutable') !== true) return
  throw invalid(
    wanted,
    `has \`immutable: true\` in the Secret ${wanted.name}`,
    'Kubernetes refuses a change of it. Take the line out, and make the Secret again.',
  )
}

export function invalid({ path }: { readonly path: string }, what: string, hint: string): KvxError {
  return new KvxError('CONFIG_INVALID', `${path} ${what}`, { hint: `${hint} Nothing was changed.` })
}

function isKind(map: YAMLMap, kind: string): boolean {
  return map.get('kind') === kind
}

/** The pair of a name in a map. @throws CONFIG_INVALID when it stands there twice */
export function pairOf(map: YAMLMap, name: string, where: { readonly path: string }): Pair | undefined {
  const found = map.items.filter(({ key }) => isScalar(key) && key.value === name)
  if (found.length < 2) return found[0]
  throw invalid(where, `says ${name} twice`, 'Which one counts depends on the reader: leave one.')
}

function secretsOf(bytes: Buffer, wanted: SecretName, keys: readonly string[]): readonly YAMLMap[] {
  if (bytes.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf])))
    throw invalid(wanted, 'begins with a byte order mark', 'Save it as UTF-8 without one.')
  const lines = new LineCounter()
  const text = masked(bytes, [...structure, wanted.name, wanted.namespace ?? '', ...keys])
  const documents = parseAllDocuments(text, { uniqueKeys: false, lineCounter: lines })
  const secrets: YAMLMap[] = []
  for (const document of Array.isArray(documents) ? documents : []) {
    const [problem] = document.errors
    if (problem !== undefined) {
      const { line, col } = lines.linePos(problem.pos[0])
      throw invalid(wanted, `is not valid YAML in line ${line}, column ${col}`, 'Mend it there.')
    }
    const { contents } = document
    const items = isMap(contents) && isKind(contents, 'List') ? contents.get('items') : undefined
    for (const map of isSeq(items) ? items.items : [contents])
      if (isMap(map) && isKind(map, 'Secret')) secrets.push(map)
  }
  return secrets
}

function masked(bytes: Buffer, names: readonly string[]): string {
  const spared = names.flatMap((name) => name.match(/[A-Za-z0-9+/=]+/g) ?? []).map((run) => Buffer.from(run))
  const copy = Buffer.from(bytes)
  for (let start = 0, end = 0; start < copy.length; start = end + 1) {
    end = start
    while (end < copy.length && isDigit(copy[end] ?? 0)) end++
    const run = copy.subarray(start, end)
    if (run.length >= shortestMasked && !spared.some((name) => name.equals(run))) run.fill('A')
  }
  return copy.toString('latin1')
}

/** Of base64. None of them means anything to YAML inside a run. */
function isDigit(byte: number): boolean {
  return (
    (byte >= 0x61 && byte <= 0x7a) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    (byte >= 0x30 && byte <= 0x39) ||
    byte === 0x2b ||
    byte === 0x2f ||
    byte === 0x3d
  )
}

/** The scalar of a pair; undefined where nothing stands there. @throws CONFIG_INVALID for anything else */
export function scalarOf(pair: Pair, name: string, where: { readonly path: string }): Scalar | undefined {
  const { value } = pair
  if (value === null || value === undefined) return undefined
  if (isScalar(value) && value.anchor === undefined && value.tag === undefined) return value
  throw invalid(
    where,
    `does not hold ${name} as a simple text`,
    'Write the value there, without anchor, alias or tag.',
  )
}
