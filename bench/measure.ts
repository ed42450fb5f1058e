/** Every figure is a ratio of two things that were measured in turn, in one run, on one machine. */

export type Row = {
  readonly what: string
  readonly beside: string
  /** Times of the two, in milliseconds, medians. They belong to the machine; the ratio is the result. */
  readonly ms: number
  readonly besideMs: number
  /** How much longer it takes: the median over the rounds. */
  readonly ratio: number
  /** What the ratio should be at most; undefined where nothing was promised. */
  readonly target?: number | undefined
}

/** How much is measured. */
export type Scale = {
  readonly rounds: number
  /** Records of a database. */
  readonly rows: number
  /** Records whose growth is measured, the smaller numbers first. */
  readonly growth: readonly number[]
  readonly vaultMiB: number
  /** Small files of a directory. */
  readonly files: number
  readonly memoryRecords: number
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

export async function timed(work: () => unknown): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

type Names = Pick<Row, 'what' | 'beside' | 'target'>
export type Pair = { readonly ms: number; readonly besideMs: number }

/** Measures both in each round, one after the other, so that a busy moment hits them alike. */
export async function beside(names: Names, rounds: number, measure: () => Promise<Pair>): Promise<Row> {
  const pairs: Pair[] = []
  for (let round = 0; round < rounds; round++) pairs.push(await measure())
  return rowOf(names, pairs)
}

export function rowOf(names: Names, pairs: readonly Pair[]): Row {
  return {
    ...names,
    ms: median(pairs.map(({ ms }) => ms)),
    besideMs: median(pairs.map(({ besideMs }) => besideMs)),
    ratio: median(pairs.map(({ ms, besideMs }) => ms / besideMs)),
  }
}

/** One round of kvx, of the bare work without its laws, and of a floor: the same laws by hand. */
export type FloorRound = { readonly ms: number; readonly bareMs: number; readonly floorMs: number }

/** kvx beside the bare work, kvx beside the floor, and the floor beside the bare work. */
export function floorRows(
  { what, bare, floor, target }: Record<'what' | 'bare' | 'floor', string> & { readonly target: number },
  rounds: readonly FloorRound[],
): readonly Row[] {
  return [
    rowOf(
      { what, beside: bare, target },
      rounds.map(({ ms, bareMs: besideMs }) => ({ ms, besideMs })),
    ),
    rowOf(
      { what, beside: floor },
      rounds.map(({ ms, floorMs: besideMs }) => ({ ms, besideMs })),
    ),
    rowOf(
      { what: floor, beside: bare },
      rounds.map(({ floorMs: ms, bareMs: besideMs }) => ({ ms, besideMs })),
    ),
  ]
}

export function table(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ what, beside, ms, besideMs, ratio, target }) =>
      `| ${what} | ${beside} | ${digits(ratio)} | ${target === undefined ? '' : target} | ${shown(ms)} | ${shown(besideMs)} |`,
  )
  return [
    '| what | beside | times as long | aim | ms | ms |',
    '|---|---|---:|---:|---:|---:|',
    ...lines,
  ].join('\n')
}

export function digits(ratio: number): string {
  return ratio.toFixed(ratio < 10 ? 2 : 1)
}

export function shown(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : Math.round(ms).toLocaleString('en')
}
