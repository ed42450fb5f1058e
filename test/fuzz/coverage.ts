/**
 * Coverage of kvx's own source: each function, branch and arm gets a counter as its file is loaded. Import this
 * before anything of `src/`. The counters are bytes in one array, which costs less than asking the inspector after
 * each input.
 */
import { registerHooks, stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseAst } from 'rolldown/parseAst'

const most = 1 << 16
const counters = new Uint32Array(most)
let used = 0
Object.assign(globalThis, { kvxCounters: counters })

/** Texts that the source compares with or looks for: what a mutation cannot guess. */
export const words = new Set<string>()

const source = pathToFileURL(join(import.meta.dirname, '../../src/')).href

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    if (!url.startsWith(source) || loaded.source == null) return loaded
    const code = stripTypeScriptTypes(Buffer.from(loaded.source as Uint8Array).toString())
    return { ...loaded, format: 'module', source: counted(code) }
  },
})

type Node = { readonly type: string; readonly start: number; readonly end: number } & Record<string, unknown>
type Insert = { readonly at: number; readonly text: string }

/** The same program, which counts. */
function counted(code: string): string {
  const inserts: Insert[] = []
  visit(parseAst(code) as unknown as Node, inserts)
  inserts.sort((a, b) => a.at - b.at)
  let [text, from] = ['', 0]
  for (const insert of inserts) {
    text += code.slice(from, insert.at) + insert.text
    from = insert.at
  }
  return `const kvxCounters = globalThis.kvxCounters;${text}${code.slice(from)}`
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value
}

/** Inner nodes come after outer ones, so that of two inserts at one place the outer one stands first. */
function visit(node: Node, inserts: Insert[]): void {
  if (node.type === 'Literal' && typeof node['value'] === 'string') words.add(node['value'])
  if (node.type === 'TemplateElement') words.add((node['value'] as { raw: string }).raw)
  if (node.type === 'BlockStatement') inserts.push({ at: node.start + 1, text: `${count()};` })
  const ends: Insert[] = []
  const asExpression = (member: unknown): void => {
    if (!isNode(member) || member.type === 'BlockStatement') return
    inserts.push({ at: member.start, text: `(${count()},` })
    ends.push({ at: member.end, text: ')' })
  }
  const asStatement = (member: unknown): void => {
    if (!isNode(member) || member.type === 'BlockStatement') return
    inserts.push({ at: member.start, text: `{${count()};` })
    ends.push({ at: member.end, text: '}' })
  }
  if (node.type === 'ArrowFunctionExpression') asExpression(node['body'])
  if (node.type === 'LogicalExpression') asExpression(node['right'])
  if (node.type === 'ConditionalExpression') {
    asExpression(node['consequent'])
    asExpression(node['alternate'])
  }
  if (node.type === 'IfStatement') {
    asStatement(node['consequent'])
    asStatement(node['alternate'])
  }
  if (node.type === 'SwitchCase') {
    const [first] = node['consequent'] as Node[]
    if (first !== undefined) inserts.push({ at: first.start, text: `${count()};` })
  }
  for (const member of Object.values(node))
    for (const child of Array.isArray(member) ? member : [member]) if (isNode(child)) visit(child, inserts)
  inserts.push(...ends)
}

function count(): string {
  if (used === most) throw new Error('more places to count than counters')
  return `kvxCounters[${used++}]++`
}

/** What the last input reached, as `place * 32 + how often`, how often by powers of two. Begins anew. */
export function takeReached(): readonly number[] {
  const reached: number[] = []
  for (let place = 0; place < used; place++) {
    const times = counters[place] ?? 0
    if (times > 0) reached.push(place * 32 + (32 - Math.clz32(times)))
  }
  counters.fill(0, 0, used)
  return reached
}
