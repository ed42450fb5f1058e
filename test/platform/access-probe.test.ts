import { spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { createFile } from '../../src/platform/create-file.ts'
import { removeFile } from '../../src/platform/files.ts'
import { replaceFile } from '../../src/platform/replace-file.ts'
import { together } from '../../src/platform/together.ts'
import { needsOtherUsers, needsTool } from '../support/needs.ts'
import { run, trustedDirectory } from '../support/trusted-directory.ts'

beforeEach((context) => {
  needsOtherUsers(context)
  needsTool(context, 'setfacl')
})

type Counts = {
  readonly opens: number
  readonly read: number
  readonly denied: number
  readonly short: number
}

type Probe = {
  /** How often he tried so far, by thousands. */
  readonly opens: () => number
  readonly stop: () => Promise<Counts>
}

/** So often the file is opened while it is replaced again and again. */
const wanted = 1_000_000

/** Another user who opens the files again and again, as fast as he can, until he is stopped. */
function probe(ids: { uid: number; gid: number }, paths: readonly string[], length: number): Probe {
  const script = `
    import { closeSync, openSync, readSync } from 'node:fs'
    const counts = { opens: 0, read: 0, denied: 0, short: 0 }
    let running = true
    let told = 0
    process.stdin.on('data', () => (running = false))
    const buffer = Buffer.alloc(100)
    while (running) {
      for (let i = 0; i < 200; i += 1) for (const path of ${JSON.stringify(paths)}) {
        counts.opens += 1
        try {
          const fd = openSync(path, 'r')
          counts.read += 1
          if (readSync(fd, buffer) < ${length}) counts.short += 1
          closeSync(fd)
        } catch (error) {
          if (error.code === 'EACCES') counts.denied += 1
        }
      }
      for (; told + 1000 <= counts.opens; told += 1000) console.log('1000')
      await new Promise(setImmediate)
    }
    console.log(JSON.stringify(counts))
    process.exit()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { ...ids, cwd: '/' })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  child.stderr.pipe(process.stderr)
  return {
    opens: () => 1000 * (said.split('\n').length - 1),
    async stop() {
      child.stdin.write('stop')
      await new Promise((done) => child.on('close', done))
      return JSON.parse(said.trimEnd().split('\n').at(-1) ?? '') as Counts
    },
  }
}

test.each([
  [false, 1],
  [true, 1],
  [true, 8],
])(
  'while a file is replaced its readers always read it whole and others never, hostile default ACL: %s, together: %i',
  async (hostile, count) => {
    const directory = trustedDirectory(0o755)
    const path = join(directory, 'key')
    const temp = join(directory, '.key.kvx-new')
    writeFileSync(path, Buffer.alloc(40, 'o'))
    chmodSync(path, 0o600)
    run('setfacl', '-m', 'u:4242:r,g::-,m::r', path)
    if (hostile) run('setfacl', '-d', '-m', 'u:4244:rw,g::rwx,o::r', directory)
    const entitled = probe({ uid: 4242, gid: 4299 }, [path], 40)
    const owningGroup = probe({ uid: 4243, gid: 0 }, [path, temp], 0)
    const named = probe({ uid: 4244, gid: 4299 }, [path, temp], 0)
    const probes = [entitled, owningGroup, named] as const
    const opens = (): number => probes.reduce((sum, one) => sum + one.opens(), 0)
    let rounds = 0
    // The others are open to everybody: one that got the access of its neighbour would be seen.
    const others = Array.from({ length: count - 1 }, (_, index) => join(directory, `other${index}`))
    for (const other of others) writeFileSync(other, 'open')
    for (const other of others) chmodSync(other, 0o666)
    for (; rounds < 40 || opens() < wanted; rounds += 1) {
      const bytes = Buffer.alloc(40 + (rounds % 40), 'n')
      const ends = await together([...others, path], async (one, company) =>
        replaceFile(one, bytes, { company }),
      )
      expect(ends.filter(({ status }) => status === 'rejected')).toEqual([])
    }
    const [good, ...bad] = await Promise.all([entitled.stop(), owningGroup.stop(), named.stop()])
    const total = [good, ...bad].reduce((sum, one) => sum + one.opens, 0)
    const beside = `default ACL: ${hostile ? 'hostile' : 'none'}`
    process.stdout.write(
      `${total} opens of a file that was replaced ${rounds} times, ${count} at once, ${beside}\n`,
    )
    expect(good.opens).toBeGreaterThan(1000)
    expect(good).toMatchObject({ read: good.opens, denied: 0, short: 0 })
    for (const counts of bad) {
      expect(counts.denied).toBeGreaterThan(100)
      expect(counts.read).toBe(0)
    }
  },
)

test('while a file is created nobody reads it who shall not in the end, hostile default ACL', async () => {
  const directory = trustedDirectory(0o755)
  const path = join(directory, 'key')
  const temp = join(directory, '.key.kvx-new')
  run('setfacl', '-d', '-m', 'u:4244:rw,g::rwx,o::r', directory)
  const group = probe({ uid: 4243, gid: 0 }, [path, temp], 0)
  const named = probe({ uid: 4244, gid: 4299 }, [path, temp], 0)
  for (let round = 0; round < 30; round += 1) {
    await createFile(path, Buffer.alloc(40, 'k'), { mode: 0o600, owner: 4241, group: 4298, readers: [4242] })
    await removeFile(path)
  }
  for (const counts of await Promise.all([group.stop(), named.stop()])) {
    expect(counts.denied).toBeGreaterThan(100)
    expect(counts.read).toBe(0)
  }
})
