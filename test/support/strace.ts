import { readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type CallResult, callInProcess } from './platform-process.ts'
import { trustedDirectory } from './trusted-directory.ts'

/** System calls that change files or make changes durable. */
const calls =
  'openat,creat,write,pwrite64,writev,pwritev,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,chmod,fchmod,fchmodat,chown,fchown,setxattr,fsetxattr'

export type Traced = {
  readonly result: CallResult
  /**
   * Successful calls on the target, its temporary file (`new`) and its directory (`dir`), in order and of all
   * threads and children: `openat new`, `write new`, `fsync new`, `rename new key`, `fsync dir`. Opening for
   * reading is left out.
   */
  readonly steps: readonly string[]
}

/** Calls a function of src/platform under strace and lists what it did to the file `target`. */
export async function traceCall(
  target: string,
  module: string,
  name: string,
  args: readonly unknown[],
): Promise<Traced> {
  const log = join(trustedDirectory(), 'strace')
  const wrapper = ['strace', '-f', '-y', '-qq', '-e', `trace=${calls}`, '-o', log]
  const result = await callInProcess(module, name, args, { wrapper })
  return { result, steps: stepsOf(readFileSync(log, 'utf8'), target) }
}

/** Calls a function with faults that strace puts into system calls on exactly these paths. */
export async function callWithFault(
  fault: { readonly inject: string; readonly paths: readonly string[] },
  module: string,
  name: string,
  args: readonly unknown[],
): Promise<CallResult & { readonly log: string }> {
  const log = join(trustedDirectory(), 'strace')
  const traced = fault.inject.split(':')[0] ?? ''
  const paths = fault.paths.flatMap((path) => ['-P', path])
  const inject = ['-e', `trace=${traced}`, '-e', `inject=${fault.inject}`]
  const wrapper = ['strace', '-f', '-y', '-qq', ...paths, ...inject, '-o', log]
  const result = await callInProcess(module, name, args, { wrapper })
  return { ...result, log: readFileSync(log, 'utf8') }
}

function stepsOf(log: string, target: string): string[] {
  const names: Record<string, string> = {
    [target]: 'key',
    [join(dirname(target), `.${basename(target)}.kvx-new`)]: 'new',
    [dirname(target)]: 'dir',
    [dirname(dirname(target))]: 'parent',
  }
  const steps: string[] = []
  for (const line of wholeCalls(log)) {
    const call = /^(\w+)\((.*)\)\s+= (-?\d+)/s.exec(line)
    if (call === null || call[3]?.startsWith('-')) continue
    const [, name = '', args = ''] = call
    if (name === 'openat' && !args.includes('O_CREAT')) continue
    const paths = [...args.matchAll(/<(\/[^>]*)>|"(\/[^"]*)"/g)].map((match) => match[1] ?? match[2] ?? '')
    const known = paths.map((path) => names[path]).filter((path) => path !== undefined)
    if (known.length > 0) steps.push([name, ...known].join(' '))
    else if (/^f?(setxattr|chown)/.test(name) && args.includes('/proc/self/fd/')) steps.push(`${name} fd`)
  }
  return steps
}

/** strace splits a call that another thread interrupts into an unfinished and a resumed line. */
export function wholeCalls(log: string): string[] {
  const open = new Map<string, string>()
  const whole: string[] = []
  for (const line of log.split('\n')) {
    const match = /^(\d+)\s+(.*)$/s.exec(line)
    if (match === null) continue
    const [, pid = '', text = ''] = match
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/s.exec(text)
    if (text.endsWith('<unfinished ...>')) open.set(pid, text.slice(0, -'<unfinished ...>'.length))
    else whole.push(resumed === null ? text : `${open.get(pid) ?? ''}${resumed[1] ?? ''}`)
  }
  return whole
}
