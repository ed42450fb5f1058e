/** So many of the last answers are remembered: what is usual is learnt at the start, and goes on being learnt. */
const remembered = 200
/** An answer that takes so many times as long as a quick one waited for something. */
const slowFrom = 3
/** Differences below this say nothing: the clock and the scheduler make them. */
const noiseMs = 0.3
/** A rest is so many times as long as the work before it, at least and at most. */
const least = 6
const most = 16
/** No rest is longer: a signal is heard after it, and the next answer may be a quick one. */
const longestMs = 1000

/**
 * How long a run rests after each piece of work, so that an application beside it keeps its own latency: longer at
 * once when the store answers slowly, and little by little shorter while it answers as quickly as it can.
 */
export class Pace {
  readonly #latencies: number[] = []
  #times = least

  /**
   * @param workedMs how long the last piece of work took
   * @param latencyMs what the smallest question to the store took just now; undefined where it cannot be asked
   * @returns how long to rest
   */
  restAfter(workedMs: number, latencyMs: number | undefined): number {
    if (latencyMs !== undefined) this.#learn(latencyMs)
    return Math.min(longestMs, workedMs * this.#times)
  }

  /** The store answers slowly, or did a moment ago. */
  get isPressed(): boolean {
    return this.#times > least
  }

  #learn(latencyMs: number): void {
    this.#latencies.push(latencyMs)
    if (this.#latencies.length > remembered) this.#latencies.shift()
    const isSlow = latencyMs > slowFrom * this.#quick() + noiseMs
    this.#times = Math.min(most, Math.max(least, isSlow ? this.#times * 1.5 : this.#times * 0.8))
  }

  /** What a quick answer takes: a tenth of those that are remembered are as quick as this. */
  #quick(): number {
    const sorted = this.#latencies.toSorted((one, other) => one - other)
    return sorted[Math.floor((sorted.length - 1) / 10)] ?? 0
  }
}
