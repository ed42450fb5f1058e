import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  openSync,
  closeSync,
  ftruncateSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createHome } from '../../src/keyring/init-home.ts'
import { expectSilence, treeHash } from '../checks/tree.ts'
import { type CliOptions, kvx, kvxBin, kvxJson } from '../support/cli.ts'
import { needsOtherUsers, needsRoot, needsTool } from '../support/needs.ts'
import { GpgHome } from '../support/gpg.ts'
import { run, trustedDirectory } from '../support/trusted-directory.ts'

beforeEach((context) => needsTool(context, 'setfacl'))

type Finding = {
  readonly rule: string
  readonly severity: string
  readonly path: string
  readonly message: string
  readonly remedy: string
}
type Data = { readonly findings: readonly Finding[]; readonly checked: number }

function check(args: readonly string[], options: CliOptions = {}) {
  return kvxJson<Data>(['check', ...args], options)
}

/** `error FILE_MODE` of each finding, sorted. */
function found(args: readonly string[], options: CliOptions = {}): string[] {
  const document = check(args, options)
  const severities = new Set(document.data.findings.map(({ severity }) => severity))
  expect(document.exit).toBe(severities.has('error') ? 3 : 0)
  return document.data.findings.map(({ severity, rule }) => `${severity} ${rule}`).sort()
}

type Tree = { readonly directory: string; readonly path: string }

function keyFile(mode = 0o600): Tree {
  const directory = trustedDirectory()
  const path = join(directory, 'k.key')
  writeFileSync(path, randomBytes(32))
  chmodSync(path, mode)
  return { directory, path }
}

/** The remedy is a command that can be copied: it is run as it stands, and the finding is gone. */
function mendBy(path: string, rule: string, args: readonly string[] = []): void {
  const finding = check([path, ...args]).data.findings.find((each) => each.rule === rule)
  const command = /`([^`]+)`/.exec(finding?.remedy ?? '')?.[1] ?? 'false'
  expect(spawnSync('sh', ['-c', command]).status).toBe(0)
  expect(found([path, ...args])).toEqual([])
}

describe('the mode', () => {
  test.each([0o600, 0o400, 0o640, 0o440])('%o is accepted', (mode) => {
    expect(found([keyFile(mode).path])).toEqual([])
  })

  test.each([0o644, 0o604, 0o602, 0o646, 0o660, 0o620])('63 %o is an error whose remedy mends it', (mode) => {
    const { path } = keyFile(mode)
    expect(new Set(found([path]))).toEqual(new Set(['error FILE_MODE']))
    mendBy(path, 'FILE_MODE')
  })

  test.each([0o700, 0o650, 0o4600, 0o2640])('%o has bits that no key needs: a warning', (mode) => {
    const { path } = keyFile(mode)
    expect(found([path])).toEqual(['warning FILE_MODE'])
    mendBy(path, 'FILE_MODE')
  })
})

describe('the ACL', () => {
  test('65 a wide mask over narrow entries is accepted', () => {
    const { path } = keyFile()
    run('setfacl', '--set', 'u::rw,g::---,g:4242:---,m::rw,o::-', path)
    expect(found([path])).toEqual([])
  })

  test('entries count by what the mask leaves of them', () => {
    const { path } = keyFile()
    run('setfacl', '--set', 'u::rw,g::rw,g:4242:rw,m::r,o::-', path)
    expect(found([path, '--allow-reader', '4242'])).toEqual(['warning FILE_ACL'])
  })

  test('67 a mask that cuts readers off is a warning that names them', () => {
    const { path } = keyFile(0o640)
    run('setfacl', '-m', 'g:4242:r', path)
    chmodSync(path, 0o600)
    const args = [path, '--allow-reader', '4242']
    expect(found(args)).toEqual(['warning FILE_ACL'])
    const [finding] = check(args).data.findings
    expect(finding?.message).toMatch(/readers lost access.*group:4242:r--/)
    mendBy(path, 'FILE_ACL', args.slice(1))
  })

  test('69 a group is an error beside an allow list, a warning without one, and nothing when allowed', () => {
    const { path } = keyFile()
    run('setfacl', '-m', 'g:4242:r,g:4243:r', path)
    expect(found([path])).toEqual(['warning FILE_ACL', 'warning FILE_ACL'])
    expect(found([path, '--allow-reader', '4242'])).toEqual(['error FILE_ACL'])
    expect(check([path, '--allow-reader', '4242']).data.findings[0]?.message).toContain('4243')
    expect(found([path, '--allow-reader', '4242', '--allow-reader', '4243'])).toEqual([])
    mendBy(path, 'FILE_ACL', ['--allow-reader', '4242'])
  })

  test('a group that can write and a user by name are errors, allowed or not', () => {
    const { path } = keyFile()
    run('setfacl', '-m', 'g:4242:rw', path)
    expect(found([path, '--allow-reader', '4242'])).toEqual(['error FILE_ACL'])
    mendBy(path, 'FILE_ACL', ['--allow-reader', '4242'])
    run('setfacl', '-b', '-m', 'u:4242:r', path)
    expect(found([path])).toEqual(['error FILE_ACL'])
  })

  test('the owning group that reads must be in the allow list where there is one', (context) => {
    needsRoot(context)
    const { path } = keyFile(0o640)
    chownSync(path, 0, 4242)
    expect(found([path])).toEqual([])
    expect(found([path, '--allow-reader', '4243'])).toEqual(['error FILE_ACL'])
    expect(found([path, '--allow-reader', '4242'])).toEqual([])
  })

  test('the group behind an ACL that can write is an error whose remedy mends it', () => {
    const { path } = keyFile()
    run('setfacl', '-m', 'g::rw,g:4242:r,m::rw', path)
    expect(found([path, '--allow-reader', '4242'])).toEqual(['error FILE_MODE'])
    mendBy(path, 'FILE_MODE', ['--allow-reader', '4242'])
  })
})

describe('the owner', () => {
  test('is root or who runs kvx, or the one that is named', (context) => {
    needsRoot(context)
    const { path } = keyFile()
    chownSync(path, 4242, 0)
    expect(found([path])).toEqual(['error FILE_OWNER'])
    expect(found([path, '--owner', '4242'])).toEqual([])
    expect(found([path, '--owner', '4243'])).toEqual(['error FILE_OWNER'])
    mendBy(path, 'FILE_OWNER')
  })

  test('may be the user who runs kvx, without root', (context) => {
    needsOtherUsers(context)
    const { directory, path } = keyFile()
    chownSync(directory, 65534, 65534)
    chownSync(path, 65534, 65534)
    const nobody = { uid: 65534, gid: 65534, cwd: '/' }
    expect(found([path], nobody)).toEqual([])
    expect(found([directory], nobody)).toEqual([])
  })

  test('a file that may not be read is an error, and the others are still checked', (context) => {
    needsOtherUsers(context)
    const { directory } = keyFile(0o644)
    chmodSync(directory, 0o755)
    writeFileSync(join(directory, 'closed.key'), randomBytes(32), { mode: 0o600 })
    const nobody = { uid: 65534, gid: 65534, cwd: '/' }
    expect(found([directory], nobody)).toEqual(['error FILE_MODE', 'error FILE_UNREADABLE'])
    expect(check([directory], nobody).data.checked).toBe(2)
  })
})

describe('the directory', () => {
  test.each([
    ['71 others write in it by an ACL', (path: string) => run('setfacl', '-m', 'u:4242:rwx', path)],
    ['its group writes in it', (path: string) => chmodSync(path, 0o775)],
    ['73 it is sticky', (path: string) => chmodSync(path, 0o1777)],
    ['somebody else owns it', (path: string) => chownSync(path, 4242, 0)],
  ])('%s', (_, spoil) => {
    const { directory, path } = keyFile()
    spoil(directory)
    const document = check([path])
    expect(document).toMatchObject({
      exit: 3,
      data: { findings: [{ rule: 'PARENT_WRITABLE', severity: 'error' }] },
    })
    expect(document.data.findings[0]?.remedy).toMatch(/`(chmod|chown|install) /)
  })

  test('is named once for all of its keys', () => {
    const { directory } = keyFile()
    writeFileSync(join(directory, 'l.key'), randomBytes(32), { mode: 0o600 })
    chmodSync(directory, 0o777)
    expect(found([directory])).toEqual(['error PARENT_WRITABLE'])
  })

  test('stands for its key files, their previous slots, and leftovers of dead runs', () => {
    const { directory, path } = keyFile()
    for (const name of ['k.key.previous', 'k.key.bak', 'notes.txt', 'kvx.yaml', '.k.key.kvx-new']) {
      writeFileSync(join(directory, name), randomBytes(32), { mode: 0o600 })
    }
    const { data, exit } = check([directory])
    expect(exit).toBe(0)
    expect(data.checked).toBe(2)
    expect(data.findings).toMatchObject([{ rule: 'LEFTOVER', path: join(directory, '.k.key.kvx-new') }])
    expect(data.findings[0]?.remedy).toContain('rm ')
    expect(check([path]).data.checked).toBe(1)
  })

  test('53 without a key file ends in 2', () => {
    const directory = trustedDirectory()
    expect(check([directory])).toMatchObject({ exit: 2, error: { code: 'FILE_NOT_FOUND' } })
    mkdirSync(join(directory, 'x.key'))
    expect(found([directory])).toEqual(['error FILE_TYPE'])
  })

  test('81 with a name that is not UTF-8 is an error that shows the name without its bytes', () => {
    const { directory, path } = keyFile()
    renameSync(
      path,
      Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0xff, 0xfe]), Buffer.from('.key')]),
    )
    expect(found([directory])).toEqual(['error FILE_NAME'])
    expect(check([directory]).data.findings[0]?.message).toContain('\\xff')
  })

  test('with a name that would steer a terminal shows it escaped', () => {
    const { directory, path } = keyFile(0o644)
    renameSync(path, join(directory, '\u001b[31mk.key'))
    const { stdout, stderr, exit } = kvx(['check', directory])
    expect(exit).toBe(3)
    expect(stdout + stderr).not.toContain('\u001b')
    expect(stdout).toContain('\\u{1b}')
  })
})

describe('what is no file of a key’s size is refused within a second, unread', () => {
  const kinds: Readonly<Record<string, (path: string, directory: string) => void>> = {
    '57 a FIFO': (path) => run('mkfifo', path),
    '59 a device': (path) => run('mknod', path, 'c', '1', '5'),
    '61 a sparse file of a terabyte': (path) => {
      const fd = openSync(path, 'w', 0o600)
      ftruncateSync(fd, 2 ** 40)
      closeSync(fd)
    },
    'a socket': (path) => {
      const server = createServer().listen(path)
      onTestFinished(() => void server.close())
    },
    'a file one byte too large': (path) => writeFileSync(path, Buffer.alloc(65_537), { mode: 0o600 }),
  }
  test.each(Object.keys(kinds))('%s', async (kind) => {
    const directory = trustedDirectory()
    const path = join(directory, 'k.key')
    kinds[kind]?.(path, directory)
    await new Promise((done) => setTimeout(done, 20))
    const before = treeHash(directory)
    // The whole process may take a second; a read of a device or FIFO would take for ever.
    const ended = spawnSync('timeout', ['5', kvxBin, 'check', path, '--json'], { encoding: 'utf8' })
    expect(ended.status).toBe(3)
    const { data } = JSON.parse(ended.stdout) as { data: Data }
    expect(data.findings).toMatchObject([{ rule: 'FILE_TYPE', severity: 'error' }])
    expect(treeHash(directory)).toBe(before)
  })

  test('59 /dev/zero and a link to it', () => {
    expect(found(['/dev/zero', '--only', 'format,files', '--skip', 'PARENT_WRITABLE'])).toEqual([
      'error FILE_TYPE',
    ])
    const link = join(trustedDirectory(), 'k.key')
    symlinkSync('/dev/zero', link)
    expect(found([link])).toEqual(['error FILE_TYPE', 'error SYMLINK'])
  })
})

describe('links', () => {
  test('a symbolic link is an error, and what it points to is checked too', () => {
    const { directory, path } = keyFile(0o644)
    const link = join(directory, 'link.key')
    symlinkSync(path, link)
    expect(found([link])).toEqual(['error FILE_MODE', 'error SYMLINK'])
    expect(found([link, '--skip', 'SYMLINK,FILE_MODE'])).toEqual([])
    // The file and its link are one key, not two.
    expect(found([directory, '--skip', 'SYMLINK,FILE_MODE'])).toEqual([])
  })

  test('55 a dangling link and a loop', () => {
    const directory = trustedDirectory()
    const [dangling, loop] = [join(directory, 'a.key'), join(directory, 'b.key')]
    symlinkSync(join(directory, 'nowhere'), dangling)
    symlinkSync(loop, loop)
    expect(check([dangling])).toMatchObject({ exit: 2, error: { code: 'FILE_NOT_FOUND' } })
    expect(found([loop])).toEqual(['error FILE_TYPE', 'error SYMLINK'])
    // In a directory it does not keep the others from being checked.
    writeFileSync(join(directory, 'c.key'), randomBytes(32), { mode: 0o644 })
    expect(found([directory, '--skip', 'SYMLINK'])).toEqual([
      'error FILE_MODE',
      'error FILE_TYPE',
      'error FILE_TYPE',
    ])
  })

  test('a second hard link is a warning', () => {
    const { directory, path } = keyFile()
    linkSync(path, join(directory, 'copy.bak'))
    expect(found([path])).toEqual(['warning HARD_LINK'])
    linkSync(path, join(directory, 'l.key'))
    expect(found([directory])).toEqual(['warning HARD_LINK', 'warning HARD_LINK'])
  })
})

describe('files that are no keys', () => {
  test('a configuration is checked with line and column, and that others cannot write it', () => {
    const directory = trustedDirectory()
    const path = join(directory, 'kvx.yaml')
    writeFileSync(path, 'kvx: 1\nkeys: {}\n', { mode: 0o600 })
    expect(check([path])).toMatchObject({ exit: 0, data: { findings: [], checked: 1 } })
    writeFileSync(path, 'kvx: 1\nkees: {}\n')
    chmodSync(path, 0o666)
    expect(found([path])).toEqual(['error CONFIG_INVALID', 'error CONFIG_WRITABLE'])
    expect(check([path]).data.findings[0]?.message).toMatch(/kvx\.yaml:2:\d+: .*"keys"/)
    expect(found([path, '--only', 'config', '--skip', 'CONFIG_INVALID'])).toEqual(['error CONFIG_WRITABLE'])
  })

  test('a backup that is cut off, and one that its manifest does not know', async (context) => {
    needsTool(context, 'gpg')
    const directory = trustedDirectory()
    const gpg = new GpgHome()
    onTestFinished(() => gpg.remove())
    const secret = randomBytes(600)
    const message = gpg.encrypt(secret, gpg.makeKey('a@example.org'))
    const path = join(directory, 'k.v1.7K3M9QZ2.asc')
    writeFileSync(path, message, { mode: 0o600 })
    expect(found([path])).toEqual([])
    writeFileSync(path, message.subarray(0, message.length - 20))
    expect(found([path])).toEqual(['error MESSAGE_DAMAGED'])
    writeFileSync(path, Buffer.concat([message, message]))
    expect(found([path])).toEqual(['error MESSAGE_DAMAGED'])
    writeFileSync(join(directory, 'k.v1.7K3M9QZ2.json'), '{"schema":"kvx.backup.manifest/1"}')
    expect(found([directory])).toEqual(['error MANIFEST_INVALID', 'error MESSAGE_DAMAGED'])
    expect(found([directory, '--only', 'manifest'])).toEqual(['error MANIFEST_INVALID'])
    expectSilence(kvx(['check', directory]), secret)
  })

  test('the key files of a home are keys like others', async () => {
    const directory = trustedDirectory()
    await createHome(join(directory, 'home'))
    const config = join(directory, 'kvx.yaml')
    writeFileSync(config, 'kvx: 1\nhome: home\nkeys:\n  a: { purpose: data }\n', { mode: 0o600 })
    expect(kvx(['keygen', 'a', '--config', config]).exit).toBe(0)
    const document = check([join(directory, 'home/keys'), config])
    expect(document).toMatchObject({ exit: 0, data: { findings: [], checked: 2 } })
  })
})
