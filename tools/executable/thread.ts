/** What a thread of the executable runs: the part of the program that whoever began it names. */
import { loadChunk } from './assets.ts'

const { part } = globalThis as unknown as { readonly part: string }
loadChunk(`./${part}`)
