import type { Situation } from './situation.ts'
import { ownSituations } from './situations-alone.ts'
import { ceremonySituations, sharedSituations } from './situations-people.ts'

/** The first that fits. */
export const situations: readonly Situation[] = [...sharedSituations, ...ceremonySituations, ...ownSituations]

export function situationOf(line: string): Situation | undefined {
  return situations.find(({ lines }) => lines.test(line))
}
