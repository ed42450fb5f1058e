import type { Computation } from './computed.ts'
import { hashes } from './hashes.ts'
import { pieces } from './pieces.ts'
import { stretching } from './stretching.ts'

/** The functions that make bytes which can't be read back, by name. */
export const computations: ReadonlyMap<string, Computation> = new Map([...hashes, ...stretching, ...pieces])
