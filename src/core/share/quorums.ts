/** How many ways there are to choose `size` of `count`. */
export function quorumCount(count: number, size: number): number {
  let ways = 1
  for (let step = 1; step <= size; step++) ways = (ways * (count - size + step)) / step
  return Math.round(ways)
}

/** Every choice of `size` numbers below `count`, each rising, in lexical order. */
export function* quorums(count: number, size: number): Generator<readonly number[]> {
  const chosen = Array.from({ length: size }, (_, place) => place)
  if (size > count) return
  for (;;) {
    yield [...chosen]
    let place = size - 1
    while (place >= 0 && chosen[place] === count - size + place) place -= 1
    if (place < 0) return
    const first = (chosen[place] ?? 0) + 1
    for (let next = place; next < size; next++) chosen[next] = first + next - place
  }
}
