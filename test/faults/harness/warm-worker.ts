/**
 * Gives one command of kvx after the other in one process, as asked on descriptor 3: a line of JSON each. The command has ended when
 * nothing is left to do; then a mark with its exit code follows on both outputs. Its argument is the bundle.
 */
import { readSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'

type Question = { readonly args: readonly string[]; readonly folder: string }

const questions = 3
const [bundle = ''] = process.argv.slice(2)
const environment = { ...process.env }
const umask = process.umask()
const load = createRequire(bundle)
let hasBegun = false

process.on('beforeExit', next)

function next(): void {
  if (hasBegun) for (const output of [1, 2]) writeSync(output, `\0${process.exitCode ?? 0}\n`)
  hasBegun = true
  const question = ask()
  if (question === undefined) process.exit(0)
  begin(question)
}

/** Waits for the next line; undefined at the end. */
function ask(): Question | undefined {
  const bytes: Buffer[] = []
  for (;;) {
    const piece = Buffer.alloc(65_536)
    const length = readSync(questions, piece)
    if (length === 0) return undefined
    bytes.push(piece.subarray(0, length))
    if (piece[length - 1] === 0x0a) return JSON.parse(Buffer.concat(bytes).toString()) as Question
  }
}

/** Only the module that starts a command is evaluated again. */
function begin({ args, folder }: Question): void {
  delete load.cache[bundle]
  process.chdir(folder)
  process.umask(umask)
  for (const name of Object.keys(process.env)) if (!Object.hasOwn(environment, name)) delete process.env[name]
  Object.assign(process.env, environment, { OCLIF_DISABLE_ENGINE_WARNING: '1', OCLIF_DISABLE_RC: '1' })
  process.exitCode = undefined
  process.argv = [process.execPath, 'kvx', ...args]
  load(bundle)
}
