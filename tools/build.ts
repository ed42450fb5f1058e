/**
 * Builds `dist/`: code-split CommonJS chunks for the command line (a chunk a command, heavy libraries apart),
 * with the oclif manifest inlined so that a start reads one small file.
 *
 * Does nothing when the sources are those that `dist/` was built from. With `--if-possible` (npm's `dependencies`
 * step) it does nothing where the development dependencies are not installed.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { spawnSync } from 'node:child_process'
import { join, relative } from 'node:path'
import { type Manual, writeManual } from './man.ts'

const root = join(import.meta.dirname, '..')
const staging = join(root, `dist.new.${process.pid}`)
const inputsFile = join(root, 'dist/inputs.sha256')

if (process.argv.includes('--if-possible') && !existsSync(join(root, 'node_modules/rolldown')))
  process.exit(0)

/** Command ids by file: `commands/key/list.ts` is `key:list`; folders that begin with `_` are no commands. */
export async function commandFiles(): Promise<Map<string, string>> {
  const files = (await readdir(join(root, 'commands'), { recursive: true })).filter(
    (file) => file.endsWith('.ts') && !file.split('/').some((part) => part.startsWith('_')),
  )
  return new Map(
    files.sort().map((file) => [
      file
        .replace(/\.ts$/, '')
        .replaceAll('/', ':')
        .replace(/:index$/, ''),
      join(root, 'commands', file),
    ]),
  )
}

/**
 * Libraries that oclif loads at the top of its files and that most commands never use: they are loaded when the
 * first property of theirs is asked for.
 */
const seldomUsed =
  /^const (\w+) = (__importDefault\()?require\(["'](ansi-escapes|ansis|clean-stack|cli-spinners|ejs|indent-string|lilconfig|minimatch|string-width|supports-color|tinyglobby|widest-line|wordwrap|wrap-ansi|node:child_process|node:fs\/promises|node:perf_hooks|node:readline)["']\)\)?;$/gm

/** What oclif's parser and its errors import for other uses of theirs: it would bring all of oclif's help. */
const unused: Readonly<Record<string, readonly string[]>> = {
  'flags.js': ['./help'],
  'parser/help.js': ['../ux'],
  'errors/handle.js': ['../help/index'],
  'errors/errors/cli.js': ['indent-string', 'wrap-ansi'],
  'errors/errors/pretty-print.js': ['indent-string', 'wrap-ansi'],
}

function withoutUnused(code: string, id: string): string {
  const names = Object.entries(unused).find(([file]) => id.endsWith(`/@oclif/core/lib/${file}`))?.[1] ?? []
  return names.reduce(
    (rest, name) => rest.replace(new RegExp(`(?:__importDefault\\()?require\\("${name}"\\)\\)?;`), '{};'),
    code,
  )
}

function loadLate(code: string): string {
  return code.replace(seldomUsed, (_, name: string, wrapper: string | undefined, library: string) => {
    const load = wrapper === undefined ? `require("${library}")` : `__importDefault(require("${library}"))`
    return `const ${name} = new Proxy(() => {}, { get: (_, key) => ${load}[key], apply: (_, self, args) => ${load}.apply(self, args) });`
  })
}

/** pdfkit asks for the measures of its fonts by a path of its package, which a bundle does not have. */
function withFonts(code: string): string {
  const imports = ['CourierBold', 'Helvetica', 'HelveticaBold'].map(
    (font) => `import ${font}Measures from 'pdfkit/standard-fonts/${font}';`,
  )
  return `${imports.join('')}${code.replace(
    /\(\) => require\$1\('#standard-fonts\/(CourierBold|Helvetica|HelveticaBold)'\)/g,
    '() => $1Measures',
  )}`
}

/**
 * What nearly every command needs is one file: to find and open many takes longer than to read what is not called.
 * The help of everything takes the small second one alone.
 */
const groups = [
  {
    name: 'base',
    test: /\/(src\/(platform|core\/(secret|fingerprint|key-))|commands\/_program\/(arguments|kvx-command))/,
  },
  { name: 'screen', test: /\/src\/ui\/col(ours|umns)|commands\/_program\/topics/, priority: 1 },
]

/** The manifest as oclif itself computes it, without machine paths. */
export async function manifest(commands: ReadonlyMap<string, string>): Promise<string> {
  const require = createRequire(import.meta.url)
  // Not among the package's exports, and the whole `oclif` developer package only to call it would be 221 packages.
  const { cacheCommand } = require(join(root, 'node_modules/@oclif/core/lib/util/cache-command.js')) as {
    cacheCommand: (command: unknown, plugin: unknown) => Promise<Record<string, unknown>>
  }
  const entries: Record<string, unknown> = {}
  for (const [id, file] of commands) {
    const { default: command } = (await import(file)) as { default: { id: string } }
    command.id = id
    entries[id] = await cacheCommand(command, { name: 'kvx', alias: 'kvx', type: 'core' })
  }
  return JSON.stringify({ commands: entries, version: (await packageJson()).version })
}

/**
 * Modules of Node are loaded when the first member of theirs is asked for: `node:crypto` alone takes a fifth of the
 * time in which Node starts. The stand-in puts the module itself in its place.
 */
function withLateBuiltins(code: string): string {
  return code.replace(
    /^let (node_\w+) = (require\("node:[\w/]+"\));$/gm,
    (line, name: string, load: string) =>
      code.includes(`${name} = require_`)
        ? line
        : `let ${name} = new Proxy({}, { get: (_, key) => (${name} = ${load})[key] });`,
  )
}

/** What the help of everything says of each command. */
async function summaries(commands: ReadonlyMap<string, string>): Promise<Readonly<Record<string, string>>> {
  const all = await Promise.all(
    [...commands].map(async ([id, file]) => {
      const { default: command } = (await import(file)) as { default: { summary: string } }
      return [id, command.summary] as const
    }),
  )
  return Object.fromEntries(all)
}

async function packageJson(): Promise<{ name: string; version: string }> {
  return JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { name: string; version: string }
}

/** SHA-256 over everything that the build reads. */
async function digestOfInputs(): Promise<string> {
  const hash = createHash('sha256')
  const files = ['package.json', 'package-lock.json', 'tools/build.ts', 'tools/man.ts']
  for (const folder of ['src', 'commands']) {
    const names = await readdir(join(root, folder), { recursive: true })
    files.push(...names.filter((name) => name.endsWith('.ts')).map((name) => `${folder}/${name}`))
  }
  for (const file of files.sort())
    hash
      .update(`${file}\0`)
      .update(await readFile(join(root, file)))
      .update('\0')
  return hash.digest('hex')
}

/** The program and all that it loads, as rolldown takes it. */
async function programBundle(
  commands: ReadonlyMap<string, string>,
  entries: Readonly<Record<string, string>> = {},
) {
  const { rolldown } = await import('rolldown')
  const table = [...commands].map(
    ([id, file]) => `${JSON.stringify(id)}: () => import(${JSON.stringify(file)})`,
  )
  const virtual: Record<string, string> = {
    'virtual:commands': `export const commands = {\n${table.join(',\n')}\n}`,
    // oclif would print what was typed where the environment asks for it.
    debug: 'export default () => Object.assign(() => undefined, { enabled: false })',
    // Asked for at each start, only to print another platform name under Windows.
    'wsl-utils': 'export const isWsl = false',
    'virtual:summaries': `export const summaries = ${JSON.stringify(await summaries(commands))}`,
    // pdfkit needs them for fonts and pictures out of files; cards have neither.
    fontkit: 'export const create = undefined',
    'png-js': 'export default undefined',
    'virtual:manifest': `export const manifest = JSON.parse(${JSON.stringify(await manifest(commands))})`,
  }
  return rolldown({
    input: { main: join(root, 'commands/_program/main.ts'), ...entries },
    platform: 'node',
    cwd: root,
    transform: { target: 'node22' },
    plugins: [
      {
        name: 'virtual',
        resolveId: (id) => (id in virtual ? id : undefined),
        load: (id) => virtual[id],
        transform: (code, id) => {
          if (id.endsWith('/node_modules/pdfkit/js/pdfkit.node.mjs')) return withFonts(code)
          if (!id.includes('/node_modules/@oclif/core/lib/')) return undefined
          return loadLate(withoutUnused(code, id))
        },
      },
    ],
    // oclif loads TypeScript and its own dev tools only in development mode, which the bundle never enters.
    external: [/^typescript$/],
    onLog: (level, log, handle) => {
      // Libraries use eval-like patterns and circular imports of their own; ours are kept by the linter.
      if (level === 'warn' && JSON.stringify(log).includes('node_modules')) return
      handle(level, log)
    },
  })
}

async function build(): Promise<void> {
  const inputs = await digestOfInputs()
  if (inputs === (await readFile(inputsFile, 'utf8').catch(() => ''))) return
  const commands = await commandFiles()
  const bundle = await programBundle(commands, { worker: join(root, 'src/migration/threads/worker.ts') })
  await rm(staging, { recursive: true, force: true })
  await bundle.write({
    dir: join(staging, 'cli'),
    format: 'cjs',
    entryFileNames: '[name].cjs',
    chunkFileNames: 'chunk-[name]-[hash].cjs',
    codeSplitting: { groups },
    plugins: [{ name: 'late', renderChunk: withLateBuiltins }],
    minify: false,
    comments: false,
  })
  await buildThread(join(staging, 'cli/segment-thread.cjs'))
  await buildLibrary(join(staging, 'lib'))
  await writeManual(join(staging, 'man'), JSON.parse(await manifest(commands)) as Manual)
  await mkdir(join(staging, '.v8'), { mode: 0o755 })
  await writeFile(join(staging, 'inputs.sha256'), inputs)
  await replaceDist()
}

/** What a thread runs is one small file: each thread reads it anew. */
async function buildThread(file: string): Promise<void> {
  const { rolldown } = await import('rolldown')
  const bundle = await rolldown({ input: join(root, 'src/vault/segment-thread.ts'), platform: 'node' })
  await bundle.write({ file, format: 'cjs', codeSplitting: false, minify: false, comments: false })
}

/** The old build goes when the new one is in place: a kvx that starts meanwhile finds one of them. */
async function replaceDist(): Promise<void> {
  const dist = join(root, 'dist')
  const old = join(root, `dist.old.${process.pid}`)
  await rename(dist, old).catch(() => undefined)
  await rename(staging, dist)
  await rm(old, { recursive: true, force: true })
}

/** `dist/lib/`: the public library as ES module and CommonJS, and the types of its entry. */
async function buildLibrary(directory: string): Promise<void> {
  const { rolldown } = await import('rolldown')
  const bundle = await rolldown({
    input: { index: join(root, 'src/index.ts') },
    platform: 'node',
    cwd: root,
    transform: { target: 'node22' },
  })
  for (const [format, extension] of [
    ['esm', 'mjs'],
    ['cjs', 'cjs'],
  ] as const) {
    await bundle.write({
      dir: directory,
      format,
      entryFileNames: `[name].${extension}`,
      chunkFileNames: `chunk-[name]-[hash].${extension}`,
      minify: false,
      comments: false,
    })
  }
  // Declarations of what the entry exports and of what those mention; imports name .ts files, as the sources do.
  const options = '--noEmit false --declaration --emitDeclarationOnly --ignoreConfig --target es2024 --strict'
  const modules =
    '--module nodenext --allowImportingTsExtensions --rewriteRelativeImportExtensions --types node'
  const types = join(directory, 'types')
  const words = [
    ...options.split(' '),
    ...modules.split(' '),
    '--skipLibCheck',
    '--rootDir',
    join(root, 'src'),
  ]
  const done = spawnSync(
    join(root, 'node_modules/.bin/tsc'),
    [...words, '--outDir', types, join(root, 'src/index.ts')],
    { cwd: root, encoding: 'utf8' },
  )
  if (done.status !== 0) throw new Error(`the types of the library could not be made:\n${done.stdout}`)
}

if (import.meta.main) {
  try {
    await build()
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
  const started = spawnSync(join(root, 'bin/kvx'), ['--version'], { encoding: 'utf8' })
  if (started.status !== 0) {
    process.stderr.write(`the built ${relative(root, 'bin/kvx')} does not start:\n${started.stderr}`)
    process.exit(1)
  }
}
