/**
 * What a disk may hold after a power cut. From the calls of one run that the shim recorded it builds states: what a
 * sync forced is there, of the rest any part that the rules of the model allow.
 *
 * `ordered` is a file system that writes its metadata as one log (ext4, xfs): names and modes come in their order,
 * and any sync writes all of them. `hostile` keeps the order inside one directory only, and a sync writes nothing
 * but the file or directory itself. In both, unsynced data comes in blocks of 4 KiB, in any order or not at all.
 */
import { createHash } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Call } from './shim.ts'

export type Model = 'ordered' | 'hostile'

type Node = number
type Place = { readonly dir: Node; readonly name: string }

type Operation =
  | { readonly kind: 'add'; readonly to: Place; readonly node: Node }
  | { readonly kind: 'remove'; readonly from: Place }
  | { readonly kind: 'move'; readonly from: Place; readonly to: Place }
  | { readonly kind: 'swap'; readonly from: Place; readonly to: Place }
  | { readonly kind: 'data'; readonly node: Node; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: 'size'; readonly node: Node; readonly length: number }
  | { readonly kind: 'mode'; readonly node: Node; readonly mode: number }
  | { readonly kind: 'sync'; readonly node: Node }

type FileState = { readonly mode: number; readonly bytes: Buffer | undefined }

/** Paths below the root, `''` for the root itself; directories have no bytes. */
export type Tree = ReadonlyMap<string, FileState>

const block = 4096

export class Recording {
  private readonly root: string
  private readonly first: { mode: number; bytes: Buffer | undefined }[] = []
  private readonly names: Map<Node, Map<string, Node>>
  private readonly live = new Map<Node, Map<string, Node>>()
  private readonly inodes = new Map<string, Node>()
  private readonly operations: Operation[] = []

  /** @param root the folder as it lies on the disk before the run; take it before the run */
  constructor(root: string) {
    this.root = root
    this.enter(root)
    this.names = new Map([...this.live].map(([node, names]) => [node, new Map(names)]))
  }

  /** How many operations there are; a power cut can come before each and after the last. */
  get length(): number {
    return this.operations.length
  }

  private enter(path: string): Node {
    const facts = lstatSync(path, { bigint: true })
    const isFolder = facts.isDirectory()
    const node = this.newNode(Number(facts.mode) & 0o7777, isFolder ? undefined : readFileSync(path))
    this.inodes.set(`${facts.dev.toString(16)}:${facts.ino}`, node)
    if (isFolder) {
      const names = new Map<string, Node>()
      this.live.set(node, names)
      for (const name of readdirSync(path)) names.set(name, this.enter(join(path, name)))
    }
    return node
  }

  private newNode(mode: number, bytes: Buffer | undefined): Node {
    this.first.push({ mode, bytes })
    return this.first.length - 1
  }

  /** Takes the calls of the run in their order. What is not modelled throws. */
  take(calls: readonly Call[]): this {
    for (const call of calls) if (call.result >= 0) this.takeOne(call)
    return this
  }

  private takeOne(call: Call): void {
    switch (call.kind) {
      case 'creat':
      case 'mkdir':
        return this.takeNew(call)
      case 'write':
        return this.takeData(this.nodeOf(call), call.offset, call.bytes.subarray(0, call.result))
      case 'trunc':
        return this.push({ kind: 'size', node: this.nodeOf(call), length: 0 })
      case 'size':
        return this.push({ kind: 'size', node: this.nodeOf(call), length: call.length })
      case 'chmod':
      case 'chown':
      case 'xattr':
        return this.push({ kind: 'mode', node: this.nodeOf(call), mode: call.mode & 0o7777 })
      case 'fsync':
        return this.push({ kind: 'sync', node: this.nodeOf(call) })
      case 'link':
        return this.push({ kind: 'add', to: this.place(call.other), node: this.at(this.place(call.path)) })
      case 'unlink':
      case 'rmdir':
        return this.push({ kind: 'remove', from: this.place(call.path) })
      case 'rename':
        return this.push({ kind: 'move', from: this.place(call.path), to: this.place(call.other) })
      case 'exchange':
        return this.push({ kind: 'swap', from: this.place(call.path), to: this.place(call.other) })
      case 'open':
      case 'send':
        return
      default:
        throw new Error(`the disk model has no ${call.kind}`)
    }
  }

  private takeNew(call: Call): void {
    const isFolder = call.kind === 'mkdir'
    const node = this.newNode(call.mode & 0o7777, isFolder ? undefined : Buffer.alloc(0))
    if (isFolder) {
      this.live.set(node, new Map())
      this.names.set(node, new Map())
    }
    this.inodes.set(call.inode, node)
    this.push({ kind: 'add', to: this.place(call.path), node })
  }

  private takeData(node: Node, offset: number, bytes: Buffer): void {
    for (let start = 0; start < bytes.length; ) {
      const end = Math.min(bytes.length, start + block - ((offset + start) % block))
      this.push({ kind: 'data', node, offset: offset + start, bytes: bytes.subarray(start, end) })
      start = end
    }
  }

  private push(operation: Operation): void {
    applyNames(this.live, operation)
    this.operations.push(operation)
  }

  private nodeOf(call: Call): Node {
    const node = this.inodes.get(call.inode)
    if (node === undefined) throw new Error(`${call.kind} of something unknown: ${call.path}`)
    return node
  }

  private place(path: string): Place {
    const parts = dirname(path)
      .slice(this.root.length)
      .split('/')
      .filter((part) => part !== '')
    let dir = 0
    for (const part of parts) dir = this.live.get(dir)?.get(part) ?? -1
    if (!this.live.has(dir)) throw new Error(`no folder for ${path}`)
    return { dir, name: basename(path) }
  }

  private at({ dir, name }: Place): Node {
    const node = this.live.get(dir)?.get(name)
    if (node === undefined) throw new Error(`nothing has the name ${name}`)
    return node
  }

  /**
   * States after a cut right before operation `cut`, without repetition.
   * @param random numbers of 0 to 1, for the parts of larger sets
   */
  *states(cut: number, model: Model, random: () => number): Generator<Tree> {
    const { forced, names, data } = this.split(cut, model)
    for (const some of nameChoices(names, model, random)) {
      for (const blocks of dataChoices(data, random)) {
        yield this.build(new Set([...forced, ...some.map(({ index }) => index), ...blocks]), cut)
      }
    }
  }

  private split(cut: number, model: Model): Split {
    const forced: number[] = []
    const names: Free[] = []
    const data: number[] = []
    const synced = new Set<Node>()
    let anySync = false
    for (let index = cut - 1; index >= 0; index--) {
      const operation = this.operations[index]
      if (operation === undefined) continue
      if (operation.kind === 'sync') {
        synced.add(operation.node)
        anySync = true
      } else if (operation.kind === 'data') {
        ;(synced.has(operation.node) ? forced : data).push(index)
      } else {
        const owners = ownersOf(operation)
        const done = model === 'ordered' ? anySync : owners.some((owner) => synced.has(owner))
        if (done) forced.push(index)
        else names.unshift({ index, owners })
      }
    }
    return { forced, names, data }
  }

  private build(chosen: ReadonlySet<number>, cut: number): Tree {
    const files = this.first.map((file) => ({ ...file }))
    const names = new Map([...this.names].map(([node, entries]) => [node, new Map(entries)]))
    for (let index = 0; index < cut; index++) {
      const operation = this.operations[index]
      if (operation === undefined || !chosen.has(index)) continue
      applyNames(names, operation)
      applyContent(files, operation)
    }
    const tree = new Map<string, FileState>()
    const visit = (node: Node, path: string): void => {
      const file = files[node]
      if (file === undefined) return
      tree.set(path, file)
      for (const [name, child] of names.get(node) ?? []) visit(child, `${path}/${name}`)
    }
    visit(0, '')
    return tree
  }
}

type Free = { readonly index: number; readonly owners: readonly Node[] }
type Split = {
  readonly forced: readonly number[]
  readonly names: readonly Free[]
  readonly data: readonly number[]
}

/** What a sync must be of to write the operation. */
function ownersOf(operation: Operation): readonly Node[] {
  if ('node' in operation && operation.kind !== 'add') return [operation.node]
  const places = [
    ...('from' in operation ? [operation.from] : []),
    ...('to' in operation ? [operation.to] : []),
  ]
  return places.map(({ dir }) => dir)
}

function applyNames(names: Map<Node, Map<string, Node>>, operation: Operation): void {
  const entries = (place: Place): Map<string, Node> => names.get(place.dir) ?? new Map<string, Node>()
  switch (operation.kind) {
    case 'add':
      entries(operation.to).set(operation.to.name, operation.node)
      return
    case 'remove':
      entries(operation.from).delete(operation.from.name)
      return
    case 'move': {
      const node = entries(operation.from).get(operation.from.name)
      if (node === undefined) return
      entries(operation.from).delete(operation.from.name)
      entries(operation.to).set(operation.to.name, node)
      return
    }
    case 'swap': {
      const one = entries(operation.from).get(operation.from.name)
      const two = entries(operation.to).get(operation.to.name)
      if (one === undefined || two === undefined) return
      entries(operation.from).set(operation.from.name, two)
      entries(operation.to).set(operation.to.name, one)
      return
    }
    case 'data':
    case 'size':
    case 'mode':
    case 'sync':
  }
}

function applyContent(files: { mode: number; bytes: Buffer | undefined }[], operation: Operation): void {
  if (operation.kind !== 'data' && operation.kind !== 'size' && operation.kind !== 'mode') return
  const file = files[operation.node]
  if (file === undefined) return
  if (operation.kind === 'mode') {
    file.mode = operation.mode
    return
  }
  const old = file.bytes ?? Buffer.alloc(0)
  if (operation.kind === 'size') {
    file.bytes = Buffer.concat([old], operation.length)
    return
  }
  const fresh = Buffer.concat([old], Math.max(old.length, operation.offset + operation.bytes.length))
  operation.bytes.copy(fresh, operation.offset)
  file.bytes = fresh
}

/** Parts of the unforced names that keep their order: all beginnings, and with a hostile disk one for each directory. */
function* nameChoices(
  names: readonly Free[],
  model: Model,
  random: () => number,
): Generator<readonly Free[]> {
  const lengths =
    names.length <= 12 ? names.map((_, index) => index) : [0, 1, names.length >> 1, names.length - 1]
  for (const length of lengths) yield names.slice(0, length)
  yield names
  if (model === 'ordered' || names.length < 2) return
  const owners = [...new Set(names.flatMap((free) => free.owners))]
  for (let round = 0; round < 2 * owners.length; round++) {
    const ends = new Map(owners.map((owner) => [owner, random() * (names.length + 1)]))
    yield names.filter((free, index) => free.owners.every((owner) => index < (ends.get(owner) ?? 0)))
  }
}

function* dataChoices(data: readonly number[], random: () => number): Generator<readonly number[]> {
  yield []
  if (data.length === 0) return
  yield data
  if (data.length === 1) return
  for (const one of data.slice(0, 4)) {
    yield data.filter((index) => index !== one)
    yield [one]
  }
  for (let round = 0; round < 3; round++) yield data.filter(() => random() < 0.5)
}

export function treeDigest(tree: Tree): string {
  const hash = createHash('sha1')
  for (const [path, { mode, bytes }] of [...tree].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${path}\0${mode}\0${bytes?.length ?? -1}\0`).update(bytes ?? '')
  return hash.digest('hex')
}

/** Puts the state into the folder, in place of all that is there. */
export function writeTree(root: string, tree: Tree): void {
  rmSync(root, { recursive: true, force: true })
  for (const [path, { mode, bytes }] of tree) {
    if (bytes === undefined) mkdirSync(join(root, path), { mode: 0o700 })
    else writeFileSync(join(root, path), bytes, { mode: 0o600 })
    chmodSync(join(root, path), mode)
  }
}
