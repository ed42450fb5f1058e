import { chmodSync, closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { isKvxError } from '../../src/core/errors.ts'
import { runChild } from '../../src/platform/child.ts'
import { needsRoot, needsTool } from '../support/needs.ts'
import { callInProcess, inPlaceOf, platformFile, runModule } from '../support/platform-process.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'

afterEach(() => vi.unstubAllEnvs())

async function failure(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => expect.unreachable('the call succeeded'),
    (error: unknown) => error,
  )
}

describe('the environment of a child', () => {
  test('holds a fixed PATH and locale and what the caller adds, nothing of the process', async () => {
    vi.stubEnv('KVX_TEST_SECRET', 'marker')
    const { stdout } = await runChild('env', [], { env: { GNUPGHOME: '/g' } })
    expect(stdout.toString().trim().split('\n').sort()).toEqual([
      'GNUPGHOME=/g',
      'LC_ALL=C',
      'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
    ])
  })

  test('lets the fault harness through only under its test flag', async () => {
    vi.stubEnv('LD_PRELOAD', '')
    vi.stubEnv('FS_COUNT', '3')
    expect((await runChild('env', [])).stdout.toString()).not.toContain('FS_COUNT')
    vi.stubEnv('KVX_FAULT_SHIM', '1')
    expect((await runChild('env', [])).stdout.toString()).toContain('FS_COUNT=3')
  })
})

describe('the program', () => {
  test('is looked up in the directories of the system, not in PATH', async () => {
    const directory = trustedDirectory()
    writeFileSync(join(directory, 'id'), '#!/bin/sh\necho evil\n')
    chmodSync(join(directory, 'id'), 0o755)
    vi.stubEnv('PATH', `${directory}:${process.env['PATH'] ?? ''}`)
    expect((await runChild('id', ['-u'])).stdout.toString().trim()).toMatch(/^\d+$/)
  })

  test.each(['kvx-no-such-tool', '/usr/bin/kvx-no-such-tool', './id', '../bin/id', '', '/etc/passwd'])(
    'that does not exist or is not absolute is missing: %j',
    async (tool) => {
      const error = await failure(runChild(tool, []))
      expect(error).toMatchObject({ code: 'TOOL_MISSING', exit: 9 })
    },
  )

  test('that is missing is named with the command that installs its package', async (context) => {
    needsRoot(context)
    const wrapper = inPlaceOf('/usr/bin/setfacl', '/dev/null')
    const key = join(trustedDirectory(), 'key')
    const args = [key, { utf8: 'k' }, { mode: 0o600, readers: [0] }]
    const result = await callInProcess('create-file.ts', 'createFile', args, { wrapper })
    if (result.stderr.includes('unshare')) context.skip('mount namespaces are not allowed here')
    expect(result.error).toMatchObject({ code: 'TOOL_MISSING', exit: 9 })
    expect(result.error?.hint).toContain('`apt-get install acl`')
  })
})

describe('input and output', () => {
  test('an exit code other than 0 is a result', async () => {
    const result = await runChild('sh', ['-c', 'echo out; echo err >&2; exit 3'])
    expect(result.exitCode).toBe(3)
    expect(result.stdout.toString()).toBe('out\n')
    expect(result.stderr.toString()).toBe('err\n')
  })

  test('bytes pass unchanged, without a newline cut off', async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 10, 128, 10])
    expect((await runChild('cat', [], { input: bytes })).stdout).toEqual(bytes)
  })

  test('without input the child reads an empty one', async () => {
    expect((await runChild('cat', [])).stdout).toHaveLength(0)
  })

  test('descriptors come as 3, 4, … and pipes after them, written and read', async () => {
    const path = join(trustedDirectory(), 'file')
    writeFileSync(path, 'from a descriptor')
    const fds = Array.from({ length: 12 }, () => openSync(path, 'r'))
    const script = 'cat; cat <&3; cat <&5; echo status >&4; echo more >&6'
    const { stdout, pipes } = await runChild('sh', ['-c', script], {
      inputFd: fds[11] as number,
      fds: [openSync(path, 'r')],
      pipes: ['out', Buffer.from('secret bytes'), 'out'],
    })
    fds.forEach((fd) => closeSync(fd))
    expect(stdout.toString()).toBe('from a descriptorfrom a descriptorsecret bytes')
    expect(pipes.map(String)).toEqual(['status\n', '', 'more\n'])
  })

  test('megabytes on several pipes at once do not block each other', async () => {
    const script = 'head -c 3000000 /dev/zero >&3; cat; head -c 3000000 /dev/zero >&2'
    const input = Buffer.alloc(3_000_000, 1)
    const result = await runChild('sh', ['-c', script], { input, pipes: ['out'], timeoutMs: 20_000 })
    expect([result.pipes[0]?.length, result.stdout.length, result.stderr.length]).toEqual([
      3_000_000, 3_000_000, 3_000_000,
    ])
  })

  test('a child that ends without reading its input is no error', async () => {
    expect((await runChild('true', [], { input: Buffer.alloc(10_000_000) })).exitCode).toBe(0)
  })

  test('gpg reads the passphrase from one pipe and reports its status on another', async (context) => {
    needsTool(context, 'gpg')
    const env = { GNUPGHOME: trustedDirectory(), HOME: '/' }
    const base = [
      '--batch',
      '--no-tty',
      '--pinentry-mode',
      'loopback',
      '--status-fd',
      '3',
      '--passphrase-fd',
      '4',
    ]
    const pipes = ['out', Buffer.from('correct horse\n')] as const
    const plain = Buffer.from('plaintext')
    const sealed = await runChild('gpg', [...base, '--symmetric'], { input: plain, env, pipes })
    const opened = await runChild('gpg', [...base, '--decrypt'], { input: sealed.stdout, env, pipes })
    await runChild('gpgconf', ['--kill', 'all'], { env })
    expect(sealed.pipes[0]?.toString()).toContain('END_ENCRYPTION')
    expect(opened.pipes[0]?.toString()).toContain('DECRYPTION_OKAY')
    expect(opened.stdout).toEqual(plain)
  })
})

describe('a failed child', () => {
  const marker = 'kvx-marker-7f3a'
  const bytes = Buffer.from(marker)
  const env = { MARK: marker }

  test.each([
    ['a time-out', `echo ${marker}; echo ${marker} >&2; exec sleep 9`, { timeoutMs: 300 }, 'within 300 ms'],
    ['a signal', `echo ${marker}; echo ${marker} >&2; kill -9 $$`, {}, 'SIGKILL'],
    ['too much output', `yes ${marker}`, { maxOutput: 4096 }, 'more than 4096 bytes'],
    ['too much on a pipe', `yes ${marker} >&3`, { maxOutput: 4096 }, 'more than 4096 bytes'],
  ])(
    '%s: the error says so and holds nothing of arguments, input, environment or output',
    async (_, script, options, text) => {
      const pipes = ['out', bytes] as const
      const error = await failure(
        runChild('sh', ['-c', script, marker], { ...options, env, pipes, input: bytes }),
      )
      expect(isKvxError(error, 'TOOL_FAILED')).toBe(true)
      const everything = inspect(error, { depth: 20, showHidden: true }) + String((error as Error).stack)
      expect(everything).toContain(text)
      expect(everything).not.toContain(marker)
      expect(everything).not.toContain(inspect(bytes).slice(8, -1))
      expect((error as Error).cause).toBeUndefined()
    },
  )

  test('that cannot be started is a failed tool without its arguments', async () => {
    const path = join(trustedDirectory(), 'broken')
    writeFileSync(path, '#!/no/such/interpreter\n')
    chmodSync(path, 0o755)
    const error = await failure(runChild(path, [marker]))
    expect(error).toMatchObject({ code: 'TOOL_FAILED', message: 'broken could not be started' })
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(marker)
  })
})

describe('the end of a child', () => {
  test('that does not come in time is not waited for, even where a program of its own holds the pipes', async () => {
    const error = await failure(runChild('sh', ['-c', 'sleep 600 & wait'], { timeoutMs: 300 }))
    expect(error).toMatchObject({ code: 'TOOL_FAILED', message: 'sh did not end within 300 ms' })
  })

  test('is forced on one that does not obey', async () => {
    const script = 'trap "" TERM; while :; do sleep 1; done'
    const error = await failure(runChild('sh', ['-c', script], { timeoutMs: 300 }))
    expect(error).toMatchObject({ code: 'TOOL_FAILED', message: 'sh did not end within 300 ms' })
  })

  test.each([
    ['comes with the end of kvx', false, 'gone'],
    ['of a session of its own is its own affair', true, 'running'],
  ])('%s', async (_, ownSession, expected) => {
    const file = join(trustedDirectory(), 'pid')
    const script = `
      import { existsSync } from 'node:fs'
      import { runChild } from ${JSON.stringify(platformFile('child.ts'))}
      void runChild('sh', ['-c', 'echo $$ > ${file}.new; mv ${file}.new ${file}; exec sleep 600'], { ownSession: ${ownSession} })
      const look = () => (existsSync('${file}') ? process.kill(process.pid, 'SIGTERM') : setTimeout(look, 10))
      look()`
    const result = await runModule(script)
    expect([result.signal, result.stderr]).toEqual(['SIGTERM', ''])
    const pid = Number(readFileSync(file, 'utf8'))
    for (let look = 0; look < 200 && expected === 'gone' && isRunning(pid); look++)
      await new Promise((done) => setTimeout(done, 50))
    expect(isRunning(pid) ? 'running' : 'gone').toBe(expected)
    if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  })
})

function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
}

test('Ctrl+C on a terminal does not reach a helper in a session of its own', async () => {
  const file = join(trustedDirectory(), 'done')
  const script = `
    import { runChild } from ${JSON.stringify(platformFile('child.ts'))}
    process.on('SIGINT', () => undefined)
    const call = runChild('sh', ['-c', 'sleep 0.5; echo done > ${file}'], { ownSession: true })
    setTimeout(() => process.kill(0, 'SIGINT'), 200)
    await call`
  const result = await runModule(script, { wrapper: ['setsid', '-w'] })
  expect(result.exitCode, result.stderr).toBe(0)
  expect(readFileSync(file, 'utf8')).toBe('done\n')
})
