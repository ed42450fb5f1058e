/**
 * `record.ts FOLDER WORDS…`: runs the program out of FOLDER and leaves beside each chunk that was loaded what V8
 * compiled of it, on top of what earlier runs left. Run it with the flags that the executable has.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chunkLoader } from './chunks.ts'

const [, , folder = '', ...words] = process.argv
process.argv.splice(2, Infinity, ...words)
process.env['OCLIF_DISABLE_ENGINE_WARNING'] = '1'
process.env['OCLIF_DISABLE_RC'] = '1'

const codeFile = (name: string): string => join(folder, `${name}.code`)
const { load, scripts } = chunkLoader(
  (name) => ({
    source: readFileSync(join(folder, name), 'utf8'),
    code: existsSync(codeFile(name)) ? readFileSync(codeFile(name)) : undefined,
  }),
  folder,
)
process.on('exit', () => {
  for (const [name, script] of scripts) {
    if (script.cachedDataRejected === true) throw new Error(`V8 does not take back what it made of ${name}`)
    writeFileSync(codeFile(name), script.createCachedData())
  }
})
load('./main.cjs')
