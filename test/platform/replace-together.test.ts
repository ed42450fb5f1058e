import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { expectedAcl, readAclAt } from '../../src/platform/acl.ts'
import { lstatFacts } from '../../src/platform/files.ts'
import { replaceFile } from '../../src/platform/replace-file.ts'
import { together } from '../../src/platform/together.ts'
import { needsRoot, needsTool } from '../support/needs.ts'
import { inPlaceOf, platformFile, runModule } from '../support/platform-process.ts'
import { run, trustedDirectory } from '../support/trusted-directory.ts'

beforeEach((context) => needsTool(context, 'setfacl'))

const fresh = (path: string): string => `the new ${basename(path)}`

/** Files named by letters and numbers that hold `old`, mode 0640. */
function oldFiles(count: number, directory = trustedDirectory()): string[] {
  return Array.from({ length: count }, (_, index) => {
    const path = join(directory, `f${String(index).padStart(2, '0')}`)
    writeFileSync(path, 'old')
    chmodSync(path, 0o640)
    return path
  })
}

type End = { readonly path: string; readonly code: string | undefined; readonly message: string }

const ends = (paths: readonly string[], results: readonly PromiseSettledResult<unknown>[]): End[] =>
  paths.map((path, index) => {
    const result = results[index]
    const reason =
      result?.status === 'rejected' ? (result.reason as { code: string; message: string }) : undefined
    return { path, code: reason?.code, message: reason?.message ?? '' }
  })

async function replaceAll(paths: readonly string[]): Promise<End[]> {
  const work = together(paths, async (path, company) =>
    replaceFile(path, Buffer.from(fresh(path)), { company }),
  )
  return ends(paths, await work)
}

type Wrapped = { readonly ends: readonly End[]; readonly log: string; readonly signal: string | null }

/** The same in a process of its own. */
async function replaceIn(
  paths: readonly string[],
  wrapper: readonly string[],
  log?: string,
): Promise<Wrapped> {
  const script = `
    import { replaceFile } from ${JSON.stringify(platformFile('replace-file.ts'))}
    import { together } from ${JSON.stringify(platformFile('together.ts'))}
    const paths = ${JSON.stringify(paths)}
    const results = await together(paths, async (path, company) =>
      replaceFile(path, Buffer.from('the new ' + path.split('/').at(-1)), { company }))
    console.log(JSON.stringify(results.map(({ status, reason }) =>
      ({ status, reason: reason && { code: reason.code, message: reason.message } }))))`
  const { stdout, stderr, signal } = await runModule(script, { wrapper, timeoutMs: 120_000 })
  if (signal === null && stdout === '') throw new Error(stderr)
  const results = stdout === '' ? [] : (JSON.parse(stdout) as PromiseSettledResult<unknown>[])
  return { ends: ends(paths, results), log: log === undefined ? '' : readFileSync(log, 'utf8'), signal }
}

function strace(...options: string[]): { readonly wrapper: readonly string[]; readonly log: string } {
  const log = join(trustedDirectory(), 'strace')
  return { wrapper: ['strace', '-f', '-y', '-qq', '-o', log, ...options], log }
}

const contents = (paths: readonly string[]): string[] => paths.map((path) => readFileSync(path, 'utf8'))

describe('what each of them keeps', () => {
  test('owner, group, mode, ACL and user xattrs are its own, and nothing of a default ACL comes in', async (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    const paths = oldFiles(64, directory)
    for (const [index, path] of paths.entries()) {
      run('chown', `${4200 + index}:${4300 + index}`, path)
      if (index % 2 === 0) run('setfacl', '-m', `u:${8000 + index}:rw,g:${9000 + index}:r`, path)
      if (index % 3 === 0) run('setfattr', '-n', 'user.note', '-v', `of ${index}`, path)
      if (index % 5 === 0) chmodSync(path, 0o400)
    }
    const access = (): string =>
      run('getfacl', '-pEn', ...paths) + run('getfattr', '--absolute-names', '-d', ...paths)
    const before = access()
    run('setfacl', '-d', '-m', 'u:4242:rwx,g:4243:rwx,o::rwx', directory)
    expect((await replaceAll(paths)).filter(({ code }) => code !== undefined)).toEqual([])
    expect(access()).toBe(before)
    expect(contents(paths)).toEqual(paths.map(fresh))
    expect(readdirSync(directory)).toHaveLength(paths.length)
  })

  test('one `cp` and one `getfacl` serve all, each file is synced before its name, each directory once after the last', async (context) => {
    needsTool(context, 'strace')
    const paths = [...oldFiles(20), ...oldFiles(20)]
    const { wrapper, log } = strace('-e', 'trace=execve,fsync,rename')
    const { ends: results, log: text } = await replaceIn(paths, wrapper, log)
    expect(results.filter(({ code }) => code !== undefined)).toEqual([])
    const programs = [...text.matchAll(/execve\("([^"]+)".* = 0$/gm)].map(([, tool = '']) => basename(tool))
    expect(programs.filter((name) => name !== 'node')).toEqual(['cp', 'getfacl'])
    const calls = [...text.matchAll(/(fsync|rename)\((?:\d+<)?"?([^">]+).*= 0$/gm)].map(
      ([, call, path]) => `${call} ${path}`,
    )
    const at = (call: string): number => {
      expect(
        calls.filter((one) => one === call),
        call,
      ).toHaveLength(1)
      return calls.indexOf(call)
    }
    for (const path of paths) {
      const temp = join(dirname(path), `.${basename(path)}.kvx-new`)
      expect(at(`fsync ${temp}`)).toBeLessThan(at(`rename ${temp}`))
      expect(at(`rename ${temp}`)).toBeLessThan(at(`fsync ${dirname(path)}`))
    }
    expect(calls).toHaveLength(2 * paths.length + 2)
  })

  test('`cp` finds all of them by numbers of descriptors, none by a path that somebody could change', async (context) => {
    needsTool(context, 'strace')
    const paths = oldFiles(3)
    const { wrapper, log } = strace(
      '-e',
      'trace=execve,chmod,fchmod,fchmodat,setxattr,fsetxattr,chown,fchown',
    )
    const { log: text } = await replaceIn(paths, [...wrapper, '-v', '-s', '200'], log)
    const [, args = ''] = /execve\("[^"]*\/cp", \[([^\]]*)\]/.exec(text) ?? []
    const names = args.split(', ').filter((word) => word.startsWith('"/proc'))
    expect(names.at(-1)).toBe('"/proc/self/fd/"')
    expect(names.slice(0, -1)).toHaveLength(3)
    for (const name of names.slice(0, -1)) expect(name).toMatch(/^"\/proc\/self\/fd\/\d+\/\d+"$/)
    expect(args).not.toContain(dirname(paths[0] ?? ''))
  })
})

describe('what goes wrong with one of them', () => {
  test('stays its own: the others are replaced, and nothing is left behind', async (context) => {
    needsRoot(context)
    needsTool(context, 'chattr')
    const directory = trustedDirectory()
    const [good = '', missing = '', linked = '', immutable = '', last = ''] = oldFiles(5, directory)
    run('rm', missing, linked)
    symlinkSync(good, linked)
    run('chattr', '+i', immutable)
    onTestFinished(() => void run('chattr', '-i', immutable))
    const codes = (await replaceAll([good, missing, linked, immutable, last])).map(({ code, message }) => [
      code,
      message.split(':')[0],
    ])
    expect(codes).toEqual([
      [undefined, ''],
      ['FILE_NOT_FOUND', `cannot read ${missing}`],
      ['UNSAFE_FILE_TYPE', `cannot read ${linked}`],
      ['IO_ERROR', `cannot replace ${immutable}`],
      [undefined, ''],
    ])
    expect(contents([good, immutable, last])).toEqual([fresh(good), 'old', fresh(last)])
    expect(readdirSync(directory).filter((name) => name.startsWith('.'))).toEqual([])
  })

  test('a file that another program wrote meanwhile is left to it', async () => {
    const paths = oldFiles(6)
    const [, other = ''] = paths
    const facts = new Map(
      await Promise.all(paths.map(async (path) => [path, await lstatFacts(path)] as const)),
    )
    appendFileSync(other, ' and newer')
    const results = await together(paths, async (path, company) => {
      const expected = facts.get(path)
      return await replaceFile(path, Buffer.from(fresh(path)), { company, ...(expected && { expected }) })
    })
    expect(ends(paths, results).map(({ code }) => code)).toEqual([
      undefined,
      'LOCKED',
      ...Array<undefined>(4),
    ])
    expect(contents(paths)).toEqual(paths.map((path) => (path === other ? 'old and newer' : fresh(path))))
  })

  test('a tool that keeps not the ACL of one and says that it did is found out, and nothing of the one is left', async (context) => {
    needsRoot(context)
    const paths = oldFiles(5)
    const [one = ''] = paths
    run('setfacl', '-m', 'g::---,g:4243:r,m::r', one)
    const fake = join(trustedDirectory(), 'cp')
    const real = `${fake}.real`
    run('cp', '/usr/bin/cp', real)
    const widen = `for f in /proc/$$/fd/*; do case $(readlink $f) in */.${basename(one)}.kvx-new) setfacl -m g::r $f;; esac; done`
    writeFileSync(fake, `#!/bin/sh\n${real} "$@" || exit\n${widen}\n`)
    chmodSync(fake, 0o755)
    const { ends: results } = await replaceIn(paths, inPlaceOf('/usr/bin/cp', fake))
    expect(results.map(({ code }) => code)).toEqual(['ACL_DIFFERS', ...Array<undefined>(4)])
    expect(contents(paths)).toEqual(paths.map((path) => (path === one ? 'old' : fresh(path))))
    expect(readdirSync(dirname(one))).toHaveLength(5)
  })

  test.each([
    ['cp', '*" /proc/self/fd/ ")'],
    ['getfacl', '*"/proc/self/fd/5"*)'],
  ])('where one %s cannot serve all, each file has its own', async (tool, many) => {
    const paths = oldFiles(4)
    run('setfacl', '-m', 'g:4243:r', paths[1] ?? '')
    const acl = await readAclAt(paths[1] ?? '')
    const fake = join(trustedDirectory(), tool)
    const real = `${fake}.real`
    run('cp', `/usr/bin/${tool}`, real)
    writeFileSync(fake, `#!/bin/sh\ncase "$* " in ${many} exit 1;; esac\nexec ${real} "$@"\n`)
    chmodSync(fake, 0o755)
    const { ends: results } = await replaceIn(paths, inPlaceOf(`/usr/bin/${tool}`, fake))
    expect(results.filter(({ code }) => code !== undefined)).toEqual([])
    expect(contents(paths)).toEqual(paths.map(fresh))
    expect(await readAclAt(paths[1] ?? '')).toEqual(acl)
    expect(await readAclAt(paths[2] ?? '')).toEqual(expectedAcl({ mode: 0o640 }))
  })
})

describe('under faults', () => {
  beforeEach((context) => needsTool(context, 'strace'))

  test('a failed sync of one new file: the old one stays, the others are replaced', async () => {
    const paths = oldFiles(5)
    const one = paths[2] ?? ''
    const temp = join(dirname(one), `.${basename(one)}.kvx-new`)
    const { wrapper, log } = strace('-P', temp, '-e', 'trace=fsync', '-e', 'inject=fsync:error=EIO:when=1')
    const { ends: results, log: text } = await replaceIn(paths, wrapper, log)
    expect(text.match(/fsync\(/g)).toHaveLength(1)
    expect(results.map(({ code }) => code)).toEqual([undefined, undefined, 'IO_ERROR', undefined, undefined])
    expect(contents(paths)).toEqual(paths.map((path) => (path === one ? 'old' : fresh(path))))
    expect(readdirSync(dirname(one))).toHaveLength(5)
  })

  test('a failed sync of a directory is that of every file in it, and of no other; it is not tried again', async () => {
    const [here, there] = [oldFiles(4), oldFiles(4)]
    const directory = dirname(here[0] ?? '')
    const { wrapper, log } = strace(
      '-P',
      directory,
      '-e',
      'trace=fsync',
      '-e',
      'inject=fsync:error=EIO:when=1',
    )
    const { ends: results, log: text } = await replaceIn([...here, ...there], wrapper, log)
    expect(text.match(/fsync\(/g)).toHaveLength(1)
    expect(results.map(({ code }) => code)).toEqual([
      ...Array<string>(4).fill('DURABILITY_UNKNOWN'),
      ...Array<undefined>(4),
    ])
    expect(results[0]?.message).toContain(`4 files in ${directory} are replaced`)
    expect(contents([...here, ...there])).toEqual([...here, ...there].map(fresh))
  })

  test.each(['openat', 'write', 'fsync', 'rename'])(
    'killed at any %s: each name holds the old or the new file, and the next time clears what is left',
    async (call) => {
      for (let when = 1; ; when += 3) {
        const directory = join(trustedDirectory(), 'd')
        mkdirSync(directory)
        const paths = oldFiles(5, directory)
        const watched = [
          directory,
          ...paths,
          ...paths.map((path) => join(directory, `.${basename(path)}.kvx-new`)),
        ]
        const { wrapper } = strace(
          ...watched.flatMap((path) => ['-P', path]),
          '-e',
          `inject=${call}:signal=KILL:when=${when}`,
        )
        const { signal } = await replaceIn(paths, wrapper)
        for (const path of paths) expect(['old', fresh(path)]).toContain(readFileSync(path, 'utf8'))
        expect((await replaceAll(paths)).filter(({ code }) => code !== undefined)).toEqual([])
        expect(readdirSync(directory)).toEqual(paths.map((path) => basename(path)))
        if (signal !== 'SIGKILL') return // past the last call of this kind
      }
    },
  )
})
