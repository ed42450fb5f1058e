import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beside, type Row, type Scale, timed } from './measure.ts'

const bin = join(import.meta.dirname, '../bin/kvx')
/** There after `npm run package`; its lines are left out otherwise. */
const executable = join(import.meta.dirname, '../package.out/kvx')
const startsARound = 5
const getfacl = ['getfacl', '-cpEn', 'keys/bench.key'] as const

function start(program: string, args: readonly string[], folder: string): void {
  const { status, stderr } = spawnSync(program, args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${String(stderr)}`)
}

type Case = {
  readonly what: string
  readonly target: number
  readonly program: string
  readonly args: () => readonly string[]
  /** The programs for access lists that it starts. */
  readonly acl: readonly (readonly [string, ...string[]])[]
}

function cases(): readonly Case[] {
  let made = 0
  const check = { what: 'kvx check FILE', args: () => ['check', 'keys/bench.key'], acl: [getfacl] }
  const keygen = () => ['keygen', `made${made++}`, '--dir', 'keys']
  const words = (word: string) => ({ what: `kvx ${word}`, args: () => [word], acl: [] })
  const ofExecutable = [words('--version'), words('--help')].map((one) => ({ ...one, target: 1.8 }))
  return [
    ...[words('--version'), words('--help')].map((one) => ({ ...one, target: 2, program: bin })),
    { ...check, target: 2.3, program: bin },
    { what: 'kvx keygen NAME --dir D', target: 2.3, program: bin, args: keygen, acl: [getfacl] },
    ...(existsSync(executable) ? [...ofExecutable, { ...check, target: 2.3 }] : []).map((one) => ({
      ...one,
      program: executable,
    })),
  ]
}

/**
 * From the shell's call to the end, beside the same Node doing nothing. What `getfacl` takes by itself, on the same
 * file and in the same turn, is left out: no command can say an ACL without it.
 */
export async function startUp({ rounds }: Scale): Promise<readonly Row[]> {
  const folder = mkdtempSync('/var/tmp/kvx-bench-')
  try {
    mkdirSync(join(folder, 'keys'), { mode: 0o711 })
    start(bin, ['keygen', 'bench', '--dir', 'keys'], folder)
    const rows: Row[] = []
    for (const { what, target, program, args, acl } of cases()) {
      start(program, args(), folder)
      const shown = `\`${what}\`${program === executable ? ', single executable' : ''}`
      rows.push(
        await beside({ what: shown, beside: '`node -e 0`', target }, rounds, async () => {
          const once = async (file: string, words: readonly string[]): Promise<number> =>
            (await timed(() => start(file, words, folder))) / startsARound
          let [ms, besideMs] = [0, 0]
          for (let turn = 0; turn < startsARound; turn++) {
            besideMs += await once(process.execPath, ['-e', '0'])
            ms += await once(program, args())
            for (const [tool, ...words] of acl) ms -= await once(tool, words)
          }
          return { ms, besideMs }
        }),
      )
    }
    return rows
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
