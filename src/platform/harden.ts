import { readFileSync, writeFileSync } from 'node:fs'
import { KvxError } from '../core/errors.ts'
import { runChild } from './child.ts'
import { findTool } from './tools.ts'

/**
 * What every command does first: new files are closed to others, a core dump holds no memory, and a reader that
 * goes away (`kvx … | head -1`) does not end an operation in its middle.
 */
export function hardenLight(): void {
  process.umask(0o077)
  emptyCoreDumps()
  swallowBrokenPipes()
}

/**
 * What a command does before it touches a key: all of `hardenLight`, no core file at all, and a refusal to run
 * where others look into the process.
 * @throws KvxError UNSAFE_PROCESS
 */
export async function hardenProcess(): Promise<void> {
  hardenLight()
  await refuseObservers()
  if (hasNoCore()) return
  if (findTool('prlimit') === undefined) return // the filter above leaves a core without memory
  await runChild('prlimit', ['--core=0:0', '--pid', String(process.pid)], { ownSession: true })
}

/** Whether both limits are 0 already, as the launcher's `ulimit -c 0` leaves them: then no helper is started. */
export function hasNoCore(limits = readText('/proc/self/limits')): boolean {
  return /^Max core file size +0 +0 /m.test(limits)
}

/** core(5): with no bit set, no mapping of the process is written. Also true where a core is piped to a program. */
function emptyCoreDumps(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0')
  } catch {
    // A container may keep /proc read-only; hardenProcess sets the limit as well.
  }
}

let isSwallowing = false

function swallowBrokenPipes(): void {
  if (isSwallowing) return
  isSwallowing = true
  for (const stream of [process.stdout, process.stderr]) {
    // Whoever read the output has gone; the work goes on to its end.
    stream.on('error', () => undefined)
  }
}

/** Options of Node that show memory to others or run foreign code before kvx. */
const observers =
  /^(-r|--require|--import|--(experimental-)?loader|--inspect.*|--debug.*|--heap-?snapshot.*|--heap-prof.*|--report.*|--experimental-report)$/

async function refuseObservers(): Promise<void> {
  const fromEnvironment = (process.env['NODE_OPTIONS'] ?? '').split(/\s+/)
  for (const option of [...process.execArgv, ...fromEnvironment]) {
    const name = option.replace(/^["']/, '').replace(/=.*$/s, '').replaceAll('_', '-')
    if (observers.test(name) && !harmless.has(name)) {
      throw refusal(
        `Node runs with ${name}, which shows memory or runs foreign code`,
        'run `env -u NODE_OPTIONS kvx …`',
      )
    }
  }
  // The launcher's option: without it a signal could have opened a debugger since.
  if (process.execArgv.includes('--disable-sigusr1')) return
  const inspector = await import('node:inspector')
  if (inspector.url() !== undefined) {
    throw refusal('a debugger can attach to this process', 'run kvx without `--inspect`')
  }
}

const harmless: ReadonlySet<string> = new Set(['--report-exclude-env', '--report-exclude-network'])

function refusal(message: string, hint: string): KvxError {
  return new KvxError('UNSAFE_PROCESS', message, { hint })
}

/**
 * A warning when memory can reach an unencrypted swap area, or undefined. Node can't lock pages. Areas in
 * compressed memory and on dm-crypt devices are fine.
 * @param swaps the text of /proc/swaps
 */
export function swapWarning(swaps = readText('/proc/swaps')): string | undefined {
  const exposed = swapAreas(swaps).filter((area) => !isMemoryOrEncrypted(area))
  if (exposed.length === 0) return undefined
  return `keys in memory can reach the unencrypted swap ${exposed.join(', ')}; turn it off with \`swapoff ${exposed[0] ?? '-a'}\` or run kvx with \`systemd-run -p MemorySwapMax=0\``
}

function swapAreas(swaps: string): string[] {
  const lines = swaps.split('\n').slice(1)
  return lines.map((line) => line.split(/\s+/)[0] ?? '').filter((area) => area !== '')
}

function isMemoryOrEncrypted(area: string): boolean {
  if (area.startsWith('/dev/zram')) return true
  const device = /^\/dev\/(dm-\d+)$/.exec(area)?.[1]
  return device !== undefined && readText(`/sys/block/${device}/dm/uuid`).startsWith('CRYPT-')
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
