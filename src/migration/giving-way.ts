import { setTimeout as sleep } from 'node:timers/promises'
import { monotonicMs } from '../platform/clock.ts'
import type { Store } from '../stores/store.ts'
import { Pace } from './pace.ts'

/** So many records are read at once: a longer answer would hold others up. */
const pageSize = 100

/** What one process did to give way. */
type GivenWay = { asked: boolean; restedMs: number; readonly paces: Pace[] }

const given: GivenWay = { asked: false, restedMs: 0, paces: [] }

/** What the operator says of the whole command with `--rate auto`. */
export function giveWay(asked: boolean): void {
  given.asked = asked
}

export function givesWay(): boolean {
  return given.asked
}

/** A store answers slowly at this moment, and the work rests longer for it. */
export function isGivingWay(): boolean {
  return given.paces.some(({ isPressed }) => isPressed)
}

/** How long the command rested so far, in milliseconds; undefined where it gives way to nothing. */
export function restedMs(): number | undefined {
  return given.asked ? given.restedMs : undefined
}

/** A store whose application goes first, and the rest that it is owed before each piece of other work on it. */
export type GentleStore = { readonly store: Store; readonly rest: () => Promise<void> }

/**
 * The same store; before each page that is read, and each swap of groups, it has a rest. Nothing overlaps: two things
 * at a time would be twice the load. A `swap` of a batch is not held up here, since its time says how large the next
 * one may be: who swaps, rests before.
 */
export function gently(store: Store): GentleStore {
  const pace = new Pace()
  given.paces.push(pace)
  let rested = monotonicMs()
  const rest = async (): Promise<void> => {
    const begun = monotonicMs()
    await store.probe?.()
    const latencyMs = store.probe === undefined ? undefined : monotonicMs() - begun
    const ms = pace.restAfter(begun - rested, latencyMs)
    await sleep(ms)
    given.restedMs += ms
    rested = monotonicMs()
  }
  return {
    rest,
    store: {
      ...store,
      overlaps: false,
      scan: (set, size) => afterRests(store.scan(set, Math.min(size, pageSize)), rest),
      ...(store.swapTogether === undefined
        ? {}
        : {
            swapTogether: async (batches, readBack) => {
              await rest()
              return (await store.swapTogether?.(batches, readBack)) ?? []
            },
          }),
    },
  }
}

async function* afterRests<Page>(
  pages: AsyncIterable<Page>,
  rest: () => Promise<void>,
): AsyncGenerator<Page> {
  for await (const page of pages) {
    yield page
    await rest()
  }
}
