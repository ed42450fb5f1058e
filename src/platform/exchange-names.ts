import { KvxError } from '../core/errors.ts'
import { toolFileError } from './acl.ts'
import { type ChildResult, runChild, toolFailed } from './child.ts'
import { fileError, shownPath } from './file-errors.ts'
import { lstatFacts } from './files.ts'
import { reachedByChild } from './held-folder.ts'
import { findTool } from './tools.ts'

type ExchangeTool = 'mv' | 'perl'

let chosenTool: Promise<ExchangeTool | undefined> | undefined

/** Number of `renameat2` by Node's name of the processor (asm/unistd.h); perl's `syscall` takes no names. */
const renameat2: Readonly<Record<string, number>> = {
  x64: 316,
  arm64: 276,
  ia32: 353,
  arm: 382,
  ppc64: 357,
  s390x: 347,
  riscv64: 276,
  loong64: 276,
}

async function chooseTool(): Promise<ExchangeTool | undefined> {
  if (findTool('mv') !== undefined) {
    const help = await runChild('mv', ['--help'], { ownSession: true })
    if (help.stdout.includes('--exchange')) return 'mv'
  }
  return findTool('perl') !== undefined && renameat2[process.arch] !== undefined ? 'perl' : undefined
}

async function exchangeTool(): Promise<ExchangeTool | undefined> {
  chosenTool ??= chooseTool()
  return await chosenTool
}

/** Whether this machine has a program that exchanges two names. */
export async function canExchange(): Promise<boolean> {
  return (await exchangeTool()) !== undefined
}

/**
 * Makes sure that this machine has a program that exchanges two names. The file system's own answer shows only at
 * the first exchange, which it refuses before anything has changed.
 * @throws KvxError TOOL_MISSING
 */
export async function requireExchange(): Promise<ExchangeTool> {
  const tool = await exchangeTool()
  if (tool !== undefined) return tool
  throw new KvxError(
    'TOOL_MISSING',
    'no program here exchanges two file names: neither `mv --exchange` (coreutils 9.5) nor perl',
    {
      hint: 'install it with `apt-get install perl-base`, or stop the application and take `online` out of kvx.yaml',
    },
  )
}

/** Exchanges two names in one step. False when one of them names nothing. */
export async function exchangeNames(one: string, other: string): Promise<boolean> {
  const tool = await requireExchange()
  const script = `exit(syscall(${renameat2[process.arch]}, -100, $ARGV[0], -100, $ARGV[1], 2) == 0 ? 0 : $! + 0)`
  const options = tool === 'mv' ? ['--exchange', '--no-target-directory', '--'] : ['-e', script, '--']
  const { fds, paths } = reachedByChild([one, other])
  const result = await runChild(tool, [...options, ...paths], { fds, ownSession: true })
  if (result.exitCode === 0) return true
  for (const name of [one, other]) if ((await lstatFacts(name)) === undefined) return false
  throw exchangeError(tool, result, other)
}

const errnoNames: Readonly<Record<number, string>> = {
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  13: 'EACCES',
  16: 'EBUSY',
  28: 'ENOSPC',
  30: 'EROFS',
  122: 'EDQUOT',
}

function exchangeError(tool: ExchangeTool, result: ChildResult, path: string): KvxError {
  const known =
    tool === 'mv'
      ? toolFileError(result, 'replace', path)
      : errnoNames[result.exitCode] && fileError({ code: errnoNames[result.exitCode] }, 'replace', path)
  if (known) return known
  const unsupported =
    tool === 'perl'
      ? [22, 38, 95].includes(result.exitCode)
      : /Invalid argument|not implemented|not supported/.test(result.stderr.toString('latin1'))
  if (!unsupported) return toolFailed(tool, result.exitCode, `exchanged ${shownPath(path)} with its new file`)
  return new KvxError(
    'IO_ERROR',
    `cannot replace ${shownPath(path)}: its file system cannot exchange two names`,
    {
      hint: 'stop the application and take `online` out of kvx.yaml',
    },
  )
}
