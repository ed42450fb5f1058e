import type { Rate } from './workload.ts'

/** A batch holds the locks of its records, and keeps a server busy. */
type Aim = {
  /** About so long it may take. */
  readonly ms: number
  readonly least: number
  readonly first: number
}

const ordinary: Aim = { ms: 200, least: 50, first: 500 }
/** Beside an application that goes first: no longer than a scheduler makes one program wait for another anyway. */
const gentle: Aim = { ms: 3, least: 5, first: 10 }
/** Larger ones were no quicker in any database, and kept 30 MB more. */
const most = 800

/**
 * How many records the next transaction takes: as many as fit into a fifth of a second, or into 3 ms where the
 * run gives way, or those that were asked for.
 */
export class BatchSize {
  readonly #aim: Aim
  readonly #adapts: boolean
  readonly #cap: number
  #size: number

  /**
   * @param asked what the operator said
   * @param rate records a second at most: no batch is larger than what a second may have
   * @param adapts whether the time that a batch takes grows with its records
   */
  constructor(asked: number | undefined, rate: Rate | undefined, adapts: boolean) {
    this.#aim = rate === 'auto' ? gentle : ordinary
    this.#adapts = (adapts || rate === 'auto') && asked === undefined
    const atMost = typeof rate === 'number' ? Math.max(1, Math.floor(rate)) : undefined
    this.#cap = atMost ?? most
    this.#size = Math.min(asked ?? this.#aim.first, atMost ?? Number.POSITIVE_INFINITY)
  }

  get records(): number {
    return this.#size
  }

  /** Of a whole batch: how long its transaction took. */
  took(ms: number): void {
    if (!this.#adapts) return
    const aim = this.#aim
    const fitting = ms < aim.ms / 2 ? this.#size * 2 : ms > aim.ms * 2 ? this.#size / 2 : this.#size
    this.#size = Math.min(this.#cap, most, Math.max(aim.least, Math.floor(fitting)))
  }
}
