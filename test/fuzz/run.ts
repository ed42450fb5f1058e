/**
 * `npm run fuzz`: changes inputs at random, keeps those that reach a new place of kvx's source, and so grows
 * `test/fuzz/corpus`, which `npm test` replays. What breaks a promise is kept too, and ends it in exit 1.
 *
 *   --minutes N     for all targets together; 10 unless told
 *   --target NAME   this one alone
 *   --seed N        another sequence of changes
 */
import { parseArgs } from 'node:util'
import { runInThisContext } from 'node:vm'
import { takeReached, words } from './coverage.ts'
import { readCorpus, writeCorpus } from './corpus.ts'
import { Mutator, seeded } from './mutate.ts'
import type { Target } from './targets.ts'

const { targets } = await import('./targets.ts')
const { faultOf } = await import('./judge.ts')

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    target: { type: 'string' },
    seed: { type: 'string', default: '20260101' },
  },
})

/** No input takes so long by far. */
const hangMs = 20_000
const batch = 300
const mostFaults = 20

class Fuzz {
  readonly target: Target
  readonly faults = new Map<string, Buffer>()
  tried = 0
  private readonly reached = new Set<number>()
  private readonly inputs: Buffer[] = []
  private readonly mutator: Mutator
  private current: Buffer = Buffer.alloc(0)

  constructor(target: Target) {
    this.target = target
    const known = [...words].filter((word) => word.length > 0 && word.length < 40)
    this.mutator = new Mutator(seeded(Number(values.seed)), known)
    for (const input of [...target.seeds, ...readCorpus(target.name)]) this.take(input)
  }

  /** A batch of inputs. One that does not end is a fault, after which the state cannot be trusted. */
  step(): void {
    const scope = globalThis as { kvxBatch?: () => void }
    scope.kvxBatch = () => {
      for (let count = 0; count < batch; count++) this.take(this.next())
    }
    try {
      runInThisContext('kvxBatch()', { timeout: hangMs })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
      this.faults.set(`no end within ${hangMs} ms`, this.current)
    }
  }

  private next(): Buffer {
    const input = this.mutator.one(this.inputs, Buffer.alloc(0))
    const other = this.mutator.one(this.inputs, input)
    const changed = this.mutator.change(input, other, this.target.most)
    return this.target.mend !== undefined && this.mutator.below(2) === 0 ? this.target.mend(changed) : changed
  }

  private take(input: Buffer): void {
    this.current = input
    this.tried++
    const fault = faultOf(this.target, input)
    const reached = takeReached()
    const before = this.reached.size
    for (const place of reached) this.reached.add(place)
    if (this.reached.size > before) this.inputs.push(input)
    if (fault === undefined) return
    const title = fault.split('\n', 2).join(' ').slice(0, 100)
    if (this.faults.size < mostFaults && !this.faults.has(title)) this.faults.set(title, input)
  }

  /** The smallest inputs that together reach every place, and those that broke a promise. */
  keep(): readonly Buffer[] {
    const reached = new Set<number>()
    const bySize = [...this.inputs].sort((a, b) => a.length - b.length)
    const kept = bySize.filter((input) => {
      faultOf(this.target, input)
      const before = reached.size
      for (const place of takeReached()) reached.add(place >> 5)
      return reached.size > before
    })
    return [...kept, ...this.faults.values()]
  }

  summary(): string {
    const places = new Set([...this.reached].map((place) => place >> 5)).size
    return `${this.target.name}: ${this.tried} inputs, ${places} places of the source, ${this.inputs.length} paths`
  }
}

const chosen = targets.filter(({ name }) => values.target === undefined || name === values.target)
if (chosen.length === 0) throw new Error(`the targets are ${targets.map(({ name }) => name).join(', ')}`)
let faults = 0
for (const target of chosen) {
  const fuzz = new Fuzz(target)
  const end = performance.now() + (Number(values.minutes) * 60_000) / chosen.length
  while (performance.now() < end) fuzz.step()
  const kept = fuzz.keep()
  writeCorpus(target.name, kept)
  const bytes = kept.reduce((sum, input) => sum + input.length, 0)
  process.stdout.write(`${fuzz.summary()}; kept ${kept.length} inputs of ${bytes} bytes\n`)
  for (const [title, input] of fuzz.faults)
    process.stdout.write(
      `  BAD ${title.slice(0, 300)}\n      ${JSON.stringify(input.toString('latin1').slice(0, 300))}\n`,
    )
  faults += fuzz.faults.size
}
process.exitCode = faults === 0 ? 0 : 1
