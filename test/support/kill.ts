import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { kvxBin } from './cli.ts'
import type { Workspace } from './workspace.ts'

/** The process dies right before the N-th call of this kind in one of its threads. */
export type KillPoint = { readonly call: string; readonly when: number }

/** Calls that make a change durable, give it its name, or take a name away. */
export const changes = ['fsync', 'fdatasync', 'rename', 'link', 'unlink', 'ftruncate', 'mkdir'] as const

/**
 * Runs the command once under strace and lists each call that it could die at.
 * @param input what it reads from its standard input
 */
export function killPoints(workspace: Workspace, args: readonly string[], input = ''): readonly KillPoint[] {
  const expressions = [`trace=${changes.join(',')},execve`]
  const { log, exit, stderr } = straced(workspace, args, expressions, input)
  if (exit !== 0) throw new Error(`kvx ${args.join(' ')} ended with ${exit}: ${stderr}`)
  // A thread that runs a program is another process, such as gpg: all but the first, which is kvx.
  const [main, ...programs] = [...log.matchAll(/^(\d+)\s+execve\(/gm)].map(([, thread = '']) => thread)
  const others = new Set(programs.filter((thread) => thread !== main))
  const most = new Map<string, number>()
  const counts = new Map<string, number>()
  for (const [, thread = '', call = ''] of log.matchAll(/^(\d+)\s+(\w+)\(/gm)) {
    if (call === 'execve' || others.has(thread)) continue
    const count = (counts.get(`${thread} ${call}`) ?? 0) + 1
    counts.set(`${thread} ${call}`, count)
    most.set(call, Math.max(most.get(call) ?? 0, count))
  }
  return [...most].flatMap(([call, count]) =>
    Array.from({ length: count }, (_, index) => ({ call, when: index + 1 })),
  )
}

/** Runs the command and kills it there. False where another process, such as gpg, was hit, or nothing. */
export function killAt(
  workspace: Workspace,
  args: readonly string[],
  { call, when }: KillPoint,
  input = '',
): boolean {
  const inject = `inject=${call}:signal=KILL:when=${when}`
  return straced(workspace, args, [`trace=${call}`, inject], input).killed
}

type Straced = {
  readonly exit: number
  readonly killed: boolean
  readonly log: string
  readonly stderr: string
}

function straced(
  workspace: Workspace,
  args: readonly string[],
  expressions: readonly string[],
  input: string,
): Straced {
  const folder = mkdtempSync(join(tmpdir(), 'kvx-strace-'))
  try {
    const log = join(folder, 'log')
    const options = ['-f', '-qq', '-o', log, ...expressions.flatMap((expression) => ['-e', expression])]
    const result = spawnSync('strace', [...options, kvxBin, ...args], {
      cwd: workspace.path,
      env: { PATH: process.env['PATH'] ?? '', ...workspace.env },
      input,
      encoding: 'utf8',
    })
    return {
      exit: result.status ?? -1,
      killed: result.signal === 'SIGKILL' || result.status === 137,
      log: readFileSync(log, 'utf8'),
      stderr: result.stderr,
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
