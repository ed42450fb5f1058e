import { scanJson, stringIn, type JsonValue } from '../../core/layout/json-scan.ts'
import { decodings } from './decodings.ts'
import { assignments, type Structure } from './assignments.ts'

type Text = { readonly path: readonly string[]; readonly text: Buffer }

const mostTexts = 6

class NoJson extends Error {}

/** Layouts of a JSON object by the members that hold encoded bytes: `json({"iv": base64(nonce:12), …, ...})`. */
export function* jsonStructures(body: Buffer): Generator<Structure> {
  if (body[0] !== 0x7b) return
  const texts = textsOf(body).filter(({ text }) => decodings(text, 2).length > 0)
  for (const codec of new Set(texts.flatMap(({ text }) => decodings(text, 2).map((one) => one.codec)))) {
    const parts = texts.flatMap(({ path, text }) => {
      const bytes = decodings(text, 2).find((one) => one.codec === codec)?.bytes
      return bytes === undefined ? [] : [{ path, size: bytes.length }]
    })
    for (const some of choices(parts)) {
      for (const { names, rank } of assignments(some.map(({ size }) => size))) {
        const members = some.map(({ path }, at) => ({ path, layout: `${codec.name}(${names[at] ?? ''})` }))
        const words = `JSON with ${some.length} members that hold the parts in ${codec.name}`
        yield { layout: objectLayout(members), words, rank: rank + 2 }
      }
    }
    for (const { path, size } of parts) {
      for (const nonce of [12, 16, 24]) {
        if (size <= nonce + 16) continue
        for (const [at, order] of [`nonce:${nonce} ct tag:16`, `nonce:${nonce} tag:16 ct`].entries()) {
          const layout = objectLayout([{ path, layout: `${codec.name}(${order})` }])
          yield { layout, words: `JSON with one member that is sealed, in ${codec.name}`, rank: 6 + at }
        }
      }
    }
  }
}

function textsOf(body: Buffer): readonly Text[] {
  let root: JsonValue
  try {
    root = scanJson(body, () => {
      throw new NoJson()
    })
  } catch (error) {
    if (error instanceof NoJson) return []
    throw error
  }
  const found: Text[] = []
  const visit = (value: JsonValue, path: readonly string[]): void => {
    if (value.kind === 'string') found.push({ path, text: Buffer.from(stringIn(body, value)) })
    if (value.kind !== 'object' || path.length > 2) return
    for (const [name, member] of value.members) visit(member, [...path, name])
  }
  visit(root, [])
  return found.slice(0, mostTexts)
}

/** Two or three of the parts, in their order. */
function choices<T>(parts: readonly T[]): readonly (readonly T[])[] {
  const pairs = parts.flatMap((one, at) => parts.slice(at + 1).map((other) => [one, other]))
  const triples = parts.flatMap((one, at) =>
    parts
      .slice(at + 1)
      .flatMap((other, next) => parts.slice(at + next + 2).map((third) => [one, other, third])),
  )
  return [...triples, ...pairs]
}

type Placed = { readonly path: readonly string[]; readonly layout: string }

function objectLayout(members: readonly Placed[]): string {
  return `json(${objectOf(members)})`
}

function objectOf(members: readonly Placed[]): string {
  const byName = Map.groupBy(members, ({ path }) => path[0] ?? '')
  const written = [...byName].map(([name, inside]) => {
    const [only] = inside
    const inner =
      only?.path.length === 1
        ? only.layout
        : objectOf(inside.map(({ path, layout }) => ({ path: path.slice(1), layout })))
    return `${JSON.stringify(name)}: ${inner}`
  })
  return `{${[...written, '...'].join(', ')}}`
}
