import { spawn } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { currentActor } from '../../src/platform/actor.ts'
import { isoNow } from '../../src/platform/clock.ts'
import { swapWarning } from '../../src/platform/harden.ts'
import { randomBytes, randomId, randomSecret } from '../../src/platform/random.ts'
import { needsOtherUsers, needsRoot, needsTool } from '../support/needs.ts'
import { callInProcess, platformFile, runModule } from '../support/platform-process.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'

afterEach(() => vi.unstubAllEnvs())

const harden = JSON.stringify(platformFile('harden.ts'))

describe('a hardened process', () => {
  test('C45 has no core dump, no memory in one, and closes new files to others', async (context) => {
    needsTool(context, 'prlimit')
    const file = join(trustedDirectory(), 'file')
    const script = `
      import { readFileSync, writeFileSync } from 'node:fs'
      import { hardenProcess } from ${harden}
      await hardenProcess()
      writeFileSync(${JSON.stringify(file)}, '')
      console.log(readFileSync('/proc/self/limits', 'utf8').match(/^Max core file size .*$/m)[0])
      console.log(readFileSync('/proc/self/coredump_filter', 'utf8'))`
    const result = await runModule(script, { wrapper: ['prlimit', '--core=unlimited'] })
    expect(result.stdout).toMatch(/^Max core file size\s+0\s+0\s+bytes\s*\n0+\n/)
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  test.each([
    ['--inspect=127.0.0.1:0'],
    ['--require=node:os'],
    ['--import=node:os'],
    ['--heapsnapshot-near-heap-limit=1'],
    ['--heapsnapshot-signal=SIGUSR2'],
    ['--report-on-signal'],
    ['--report-uncaught-exception'],
  ])('C45 refuses %s in NODE_OPTIONS', async (option) => {
    const script = `import { hardenProcess } from ${harden}
      await hardenProcess().then(() => console.log('ran'), (error) => console.log(error.code, error.exit))`
    const fromOptions = await runModule(script, { wrapper: ['env', `NODE_OPTIONS=${option}`] })
    expect(fromOptions.stdout.trim(), fromOptions.stderr).toBe('UNSAFE_PROCESS 6')
  })

  test('refuses such options on the command line of Node', async () => {
    const script = `import { hardenProcess } from ${harden}
      await hardenProcess().then(() => console.log('ran'), (error) => console.log(error.code))`
    for (const option of [
      '--inspect=127.0.0.1:0',
      '--import=node:os',
      '--report-on-fatalerror',
      '--heapsnapshot-signal=SIGUSR2',
    ]) {
      const result = await runModule(script, {
        wrapper: ['sh', '-c', `n=$1; shift; exec "$n" ${option} "$@"`, 'sh'],
      })
      expect(result.stdout.trim(), result.stderr).toBe('UNSAFE_PROCESS')
    }
  })

  test('C45 runs with the options of the launcher', async () => {
    const script = `import { hardenProcess } from ${harden}
      await hardenProcess().then(() => console.log('ran'), (error) => console.log(error.code))`
    const options = '--disable-sigusr1 --disable-proto=throw --no-addons --report-exclude-env'
    const result = await runModule(script, {
      wrapper: ['sh', '-c', `n=$1; shift; exec "$n" ${options} "$@"`, 'sh'],
    })
    expect(result.stdout.trim(), result.stderr).toBe('ran')
  })

  test('goes on to its end when the reader of its output goes away', async () => {
    const file = join(trustedDirectory(), 'done')
    const script = `
      import { writeFileSync } from 'node:fs'
      import { hardenLight } from ${harden}
      hardenLight()
      for (let i = 0; i < 200; i += 1) {
        console.log('line ' + i)
        await new Promise((done) => setTimeout(done, 1))
      }
      writeFileSync(${JSON.stringify(file)}, 'went on')`
    const pipeline = '"$@" | head -n 1'
    const result = await runModule(script, { wrapper: ['sh', '-c', pipeline, 'sh'] })
    expect(result.stdout).toBe('line 0\n')
    expect(readFileSync(file, 'utf8')).toBe('went on')
  })
})

describe('swap', () => {
  const head = 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n'

  test('C45 on a plain device or in a file is warned of with what to do', () => {
    expect(swapWarning(`${head}/dev/sda2 partition\t8388604\t0\t-2\n/swap file 1 0 -3\n`)).toMatch(
      /unencrypted swap \/dev\/sda2, \/swap.*`swapoff \/dev\/sda2`/,
    )
  })

  test('in compressed memory, or none, needs no warning', () => {
    expect(swapWarning(head)).toBeUndefined()
    expect(swapWarning('')).toBeUndefined()
    expect(swapWarning(`${head}/dev/zram0 partition\t8388604\t0\t100\n`)).toBeUndefined()
  })
})

describe('signals', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)(
    'the first %s is remembered and lets the work finish, the second ends it with %i',
    async (signal, code) => {
      const script = `
      import { interrupted, onSignals } from ${JSON.stringify(platformFile('interrupt.ts'))}
      onSignals()
      console.log('ready')
      const end = Date.now() + 20_000
      while (Date.now() < end) {
        await new Promise((done) => setTimeout(done, 5))
        if (interrupted()) { console.log('first ' + interrupted()); break }
      }
      if (process.env.FINISH) process.exit(10)
      await new Promise((done) => setTimeout(done, 20_000))`
      for (const finish of [true, false]) {
        const env = { ...process.env, ...(finish ? { FINISH: '1' } : {}) }
        const child = spawn(process.execPath, ['--input-type=module', '-e', script], { env })
        let said = ''
        child.stdout.setEncoding('utf8').on('data', (text: string) => {
          said += text
          if (text.includes('ready') || text.includes('first')) child.kill(signal)
        })
        const exit = await new Promise((done) => child.on('exit', done))
        expect(said).toContain(`first ${signal}`)
        if (!finish) expect(exit).toBe(code)
        else expect([10, code]).toContain(exit)
      }
    },
  )
})

describe('clock, random and actor', () => {
  test('times are UTC to the second', () => {
    expect(isoNow()).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  })

  test('ids sort by time and differ', () => {
    const ids = Array.from({ length: 1000 }, () => randomId())
    expect(new Set(ids).size).toBeGreaterThan(998)
    for (const id of ids) expect(id).toMatch(/^\d{8}T\d{6}Z-[0-9a-hjkmnp-tv-z]{6}$/)
  })

  test('a secret has the asked length and different bytes each time, outside the pool that Node shares', () => {
    const [one, two] = [randomSecret(32), randomSecret(32)]
    expect(one.length).toBe(32)
    expect(one.equals(two)).toBe(false)
    const shared = Buffer.from('x').buffer
    expect(one.lend((bytes) => bytes.buffer === shared)).toBe(false)
    expect(randomBytes(32).buffer.byteLength).toBe(32)
    expect(randomBytes(5)).toHaveLength(5)
  })

  test('the actor is the person behind sudo, without signs that could disturb a log', async (context) => {
    needsRoot(context)
    vi.stubEnv('SUDO_USER', 'alice\n\u001b[31m')
    vi.stubEnv('SUDO_UID', '1000')
    expect(currentActor()).toMatch(/^alice\?+31m \(uid 1000\) on \S+$/)
    vi.stubEnv('SUDO_USER', '')
    expect(currentActor()).toMatch(/^root \(uid 0\) on \S+$/)
  })

  test('an actor without an account is a number, and cannot name itself by the variables of sudo', async (context) => {
    needsOtherUsers(context)
    const env = { SUDO_USER: 'root', SUDO_UID: '0' }
    const result = await callInProcess('actor.ts', 'currentActor', [], { uid: 777_777, gid: 777_777, env })
    expect(result.value).toMatch(/^\(uid 777777\) on \S+$/)
  })
})
