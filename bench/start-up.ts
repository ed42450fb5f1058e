import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beside, type Row, type Scale, timed } from './measure.ts'

const bin = join(import.meta.dirname, '../bin/kvx')
const startsARound = 5

function start(program: string, args: readonly string[], folder: string): void {
  const { status, stderr } = spawnSync(program, args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}: ${String(stderr)}`)
}

/** From the shell's call to the end, beside the same Node doing nothing. */
export async function startUp({ rounds }: Scale): Promise<readonly Row[]> {
  const folder = mkdtempSync('/var/tmp/kvx-bench-')
  try {
    mkdirSync(join(folder, 'keys'), { mode: 0o711 })
    start(bin, ['keygen', 'bench', '--dir', 'keys'], folder)
    let made = 0
    const cases = [
      ['kvx --version', 2, () => ['--version']],
      ['kvx --help', 2, () => ['--help']],
      ['kvx check FILE', 2.3, () => ['check', 'keys/bench.key']],
      ['kvx keygen NAME --dir D', 2.3, () => ['keygen', `made${made++}`, '--dir', 'keys']],
    ] as const
    const rows: Row[] = []
    for (const [what, target, args] of cases) {
      start(bin, args(), folder)
      rows.push(
        await beside({ what: `\`${what}\``, beside: '`node -e 0`', target }, rounds, async () => {
          let [ms, besideMs] = [0, 0]
          for (let turn = 0; turn < startsARound; turn++) {
            besideMs += (await timed(() => start(process.execPath, ['-e', '0'], folder))) / startsARound
            ms += (await timed(() => start(bin, args(), folder))) / startsARound
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
