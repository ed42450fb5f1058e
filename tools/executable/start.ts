/** What the executable runs first: as `bin/kvx` does, it drops what could steer Node, then starts the program. */
import { loadChunk } from './assets.ts'

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

loadChunk('./main.cjs')
