import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beside, type Row, type Scale, timed } from './measure.ts'

const bin = join(import.meta.dirname, '../bin/kvx')
/** There after `npm run package`; its lines are left out otherwise. */
const executable = join(import.meta.dirname, '../package.out/kvx')
const startsARound = 5

function start(program: string, args: readonly string[], folder: string): void {
  const { status, stderr } = spawnSync(program, args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${String(stderr)}`)
}

const ofExecutable = [
  { what: 'kvx --version', target: 1.8, program: executable, args: () => ['--version'] },
  { what: 'kvx --help', target: 1.8, program: executable, args: () => ['--help'] },
  { what: 'kvx check FILE', target: 2.3, program: executable, args: () => ['check', 'keys/bench.key'] },
]

/** From the shell's call to the end, beside the same Node doing nothing. */
export async function startUp({ rounds }: Scale): Promise<readonly Row[]> {
  const folder = mkdtempSync('/var/tmp/kvx-bench-')
  try {
    mkdirSync(join(folder, 'keys'), { mode: 0o711 })
    start(bin, ['keygen', 'bench', '--dir', 'keys'], folder)
    let made = 0
    const cases = [
      { what: 'kvx --version', target: 2, program: bin, args: () => ['--version'] },
      { what: 'kvx --help', target: 2, program: bin, args: () => ['--help'] },
      { what: 'kvx check FILE', target: 2.3, program: bin, args: () => ['check', 'keys/bench.key'] },
      {
        what: 'kvx keygen NAME --dir D',
        target: 2.3,
        program: bin,
        args: () => ['keygen', `made${made++}`, '--dir', 'keys'],
      },
      ...(existsSync(executable) ? ofExecutable : []),
    ]
    const rows: Row[] = []
    for (const { what, target, program, args } of cases) {
      start(program, args(), folder)
      rows.push(
        await beside(
          {
            what: `\`${what}\`${program === executable ? ', single executable' : ''}`,
            beside: '`node -e 0`',
            target,
          },
          rounds,
          async () => {
            let [ms, besideMs] = [0, 0]
            for (let turn = 0; turn < startsARound; turn++) {
              besideMs += (await timed(() => start(process.execPath, ['-e', '0'], folder))) / startsARound
              ms += (await timed(() => start(program, args(), folder))) / startsARound
            }
            return { ms, besideMs }
          },
        ),
      )
    }
    return rows
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
