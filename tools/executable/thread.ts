/** What a thread of the executable runs: the program's part for threads, out of the same chunks. */
import { loadChunk } from './assets.ts'

loadChunk('./worker.cjs')
