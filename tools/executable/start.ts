/** What the executable runs first: as `bin/kvx` does, it drops what could steer Node, then starts the program. */
import { dirname } from 'node:path'
import { getAsset, getRawAsset } from 'node:sea'
import { chunkLoader } from './chunks.ts'

const steering = [
  'NODE_OPTIONS',
  'NODE_PATH',
  'NODE_COMPILE_CACHE',
  'NODE_V8_COVERAGE',
  'NODE_DEBUG',
  'NODE_EXTRA_CA_CERTS',
  'NODE_REPL_EXTERNAL_MODULE',
]
for (const name of steering) delete process.env[name]
process.env['OCLIF_DISABLE_ENGINE_WARNING'] = '1'
process.env['OCLIF_DISABLE_RC'] = '1'

/** Not a copy: the bytes lie in the executable. */
function code(name: string): Uint8Array | undefined {
  try {
    return new Uint8Array(getRawAsset(`${name}.code`))
  } catch {
    return undefined // a chunk that no command of the build's had run
  }
}

chunkLoader((name) => ({ source: getAsset(name, 'utf8'), code: code(name) }), dirname(process.execPath)).load(
  './main.cjs',
)
