/** A batch holds the locks of its records: for about so long it may, unless the operator says how many they are. */
const aimMs = 200
const least = 50
const first = 500
const most = 2000

/** How many records the next transaction takes: as many as fit into a fifth of a second, or those that were asked for. */
export class BatchSize {
  readonly #adapts: boolean
  readonly #cap: number
  #size: number

  /**
   * @param asked what the operator said
   * @param rate records a second at most: no batch is larger than what a second may have
   * @param adapts whether the time that a batch takes grows with its records
   */
  constructor(asked: number | undefined, rate: number | undefined, adapts: boolean) {
    this.#adapts = adapts && asked === undefined
    this.#cap = rate === undefined ? most : Math.max(1, Math.floor(rate))
    this.#size = Math.min(asked ?? first, rate === undefined ? Number.POSITIVE_INFINITY : this.#cap)
  }

  get records(): number {
    return this.#size
  }

  /** Of a whole batch: how long its transaction took. */
  took(ms: number): void {
    if (!this.#adapts) return
    const fitting = ms < aimMs / 2 ? this.#size * 2 : ms > aimMs * 2 ? this.#size / 2 : this.#size
    this.#size = Math.min(this.#cap, most, Math.max(least, Math.floor(fitting)))
  }
}
