import { dirname } from 'node:path'
import { getAsset, getRawAsset } from 'node:sea'
import { chunkLoader } from './chunks.ts'

/** Runs a chunk that lies in the executable. */
export function loadChunk(name: string): void {
  chunkLoader(
    (chunk) => ({ source: getAsset(chunk, 'utf8'), code: code(chunk) }),
    dirname(process.execPath),
  ).load(name)
}

/** Not a copy: the bytes lie in the executable. */
function code(name: string): Uint8Array | undefined {
  try {
    return new Uint8Array(getRawAsset(`${name}.code`))
  } catch {
    return undefined // a chunk that no command of the build's had run
  }
}
