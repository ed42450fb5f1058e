import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beside, type Row, type Scale, timed } from './measure.ts'

const bin = join(import.meta.dirname, '../bin/kvx')
const files = 10_000
const line = 'const name = "value"; // a line of a program that is about nothing in particular\n'

/** A look for keys through a repository's worth of text, beside one for a pattern of the kind by grep. */
export async function checkTree({ rounds }: Scale): Promise<Row> {
  const folder = mkdtempSync('/var/tmp/kvx-bench-')
  try {
    for (let at = 0; at < files; at++) {
      const directory = join(folder, `d${at % 100}`)
      mkdirSync(directory, { recursive: true })
      writeFileSync(join(directory, `f${at}.ts`), line.repeat(80))
    }
    const pattern = '(key|kek|secret)[a-z_]*["\']? *[:=] *["\']?[A-Za-z0-9+/]{43}'
    const run = (program: string, args: readonly string[]): void => {
      const { error } = spawnSync(program, args, { cwd: folder, stdio: 'ignore' })
      if (error !== undefined) throw error
    }
    const names = {
      what: `\`kvx check --recursive\` of ${files.toLocaleString('en')} files, 64 MB`,
      beside: '`grep -rE` with one pattern',
    }
    return await beside(names, rounds, async () => ({
      besideMs: await timed(() => run('grep', ['-rEi', pattern, '.'])),
      ms: await timed(() => run(bin, ['check', '--recursive', '.', '--only', 'secrets'])),
    }))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
