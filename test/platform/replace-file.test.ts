import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { expectedAcl, readAclAt } from '../../src/platform/acl.ts'
import { lstatFacts, readFileCapped } from '../../src/platform/files.ts'
import { replaceFile } from '../../src/platform/replace-file.ts'
import { needsOtherUsers, needsRoot, needsTool } from '../support/needs.ts'
import { callInProcess, inPlaceOf } from '../support/platform-process.ts'
import { mount, run, trustedDirectory } from '../support/trusted-directory.ts'

beforeEach((context) => needsTool(context, 'setfacl'))

const fresh = Buffer.from('the new content')

function oldFile(directory = trustedDirectory()): string {
  const path = join(directory, 'key')
  writeFileSync(path, 'old')
  chmodSync(path, 0o640)
  return path
}

/** The refusal, after which the file has its bytes and facts and its directory nothing else. */
async function expectRefused(path: string, expected: object, names = ['key']): Promise<void> {
  const [before, content] = [await lstatFacts(path), readFileSync(path)]
  await expect(replaceFile(path, fresh)).rejects.toMatchObject(expected)
  expect(await lstatFacts(path)).toEqual(before)
  expect(readFileSync(path)).toEqual(content)
  expect(readdirSync(join(path, '..')).sort()).toEqual(names)
}

describe('what stays', () => {
  test('owner, group, mode, named users and groups, mask and user xattrs; the inode is a new one', async (context) => {
    needsRoot(context)
    const path = oldFile()
    run('chown', '4241:4242', path)
    run('setfacl', '-m', 'u:7:-,u:8:rw,g:4243:r,m::r', path)
    run('setfattr', '-n', 'user.note', '-v', 'kept', path)
    const before = await lstatFacts(path)
    const [acl, text] = [await readAclAt(path), run('getfacl', '-cpEn', path)]
    const after = await replaceFile(path, fresh)
    expect(readFileSync(path)).toEqual(fresh)
    expect(after).toMatchObject({ uid: 4241, gid: 4242, mode: before?.mode, nlink: 1 })
    expect(after.ino).not.toBe(before?.ino)
    expect(await lstatFacts(path)).toEqual(after)
    expect(await readAclAt(path)).toEqual(acl)
    expect(run('getfacl', '-cpEn', path)).toBe(text)
    expect(run('getfattr', '--absolute-names', '--only-values', '-n', 'user.note', path)).toBe('kept')
  })

  test('a mask that cuts named readers off stays as it is, not wider', async () => {
    const path = oldFile()
    run('setfacl', '-m', 'g:4243:r', path)
    chmodSync(path, 0o600)
    const acl = await readAclAt(path)
    await replaceFile(path, fresh)
    expect(await readAclAt(path)).toEqual(acl)
    expect(acl.mask).toBe(0)
  })

  test('nothing of a default ACL of the directory comes in', async () => {
    const directory = trustedDirectory()
    const path = oldFile(directory)
    run('setfacl', '-d', '-m', 'u:4242:rw,g:4243:r,o::r', directory)
    await replaceFile(path, fresh)
    expect(await readAclAt(path)).toEqual(expectedAcl({ mode: 0o640 }))
  })

  test('a group with the set-group-id bit on the directory', async (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    const path = oldFile(directory)
    run('chown', '0:4244', directory)
    chmodSync(directory, 0o2700)
    await replaceFile(path, fresh)
    expect(statSync(path)).toMatchObject({ uid: 0, gid: 0 })
  })
})

test.for([
  ['owner', ['chown', '4241:0'], 'UNSAFE_OWNER'],
  ['mode', ['chmod', '0640'], 'UNSAFE_MODE'],
  ['ACL', ['setfacl', '-m', 'g::---,g:4243:rw,m::rw'], 'ACL_DIFFERS'],
] as const)(
  'a tool that keeps not the %s and says that it did is found out',
  async ([, change, code], context) => {
    needsRoot(context)
    const path = oldFile()
    chmodSync(path, 0o600)
    run(change[0], ...change.slice(1), path)
    const keep = code === 'ACL_DIFFERS' ? '#!/bin/sh\nchmod 0660 /proc/self/fd/4\n' : '#!/bin/sh\n'
    const fake = join(trustedDirectory(), 'cp')
    writeFileSync(fake, keep)
    chmodSync(fake, 0o755)
    const wrapper = inPlaceOf('/usr/bin/cp', fake)
    const result = await callInProcess('replace-file.ts', 'replaceFile', [path, { utf8: 'new' }], { wrapper })
    if (result.stderr.includes('unshare')) context.skip('mount namespaces are not allowed here')
    expect(result.error, result.stderr).toMatchObject({ code, exit: 6 })
    expect(readFileSync(path, 'utf8')).toBe('old')
  },
)

test('access can be changed in the same step; owner and group stay unless named, xattrs stay', async (context) => {
  needsRoot(context)
  const path = oldFile()
  run('chown', '4241:4242', path)
  run('setfacl', '-m', 'u:8:rw', path)
  run('setfattr', '-n', 'user.note', '-v', 'kept', path)
  await replaceFile(path, fresh, { change: { mode: 0o600, readers: [4243] } })
  expect(statSync(path)).toMatchObject({ uid: 4241, gid: 4242 })
  expect(await readAclAt(path)).toEqual(expectedAcl({ mode: 0o600, readers: [4243] }))
  expect(run('getfattr', '--absolute-names', '--only-values', '-n', 'user.note', path)).toBe('kept')
  await replaceFile(path, fresh, { change: { mode: 0o640, owner: 0, group: 4245 } })
  expect(statSync(path)).toMatchObject({ uid: 0, gid: 4245 })
  expect(await readAclAt(path)).toEqual(expectedAcl({ mode: 0o640 }))
})

describe('changed meanwhile', () => {
  test('the state that the caller read must be there still', async () => {
    const path = oldFile()
    const { facts } = await readFileCapped(path, { maxBytes: 100 })
    const placed = await replaceFile(path, fresh, { expected: facts })
    await expect(replaceFile(path, fresh, { expected: facts })).rejects.toMatchObject({
      code: 'LOCKED',
      exit: 8,
    })
    await replaceFile(path, fresh, { expected: placed })
    appendFileSync(path, 'x')
    const stale = replaceFile(path, fresh, { expected: placed })
    await expect(stale).rejects.toMatchObject({ code: 'LOCKED' })
  })

  test.each(['written', 'replaced', 'removed'])(
    'a file that another program has %s in between stays so',
    async (what) => {
      const directory = trustedDirectory()
      const path = oldFile(directory)
      const temp = join(directory, '.key.kvx-new')
      const wrapper = [
        'strace',
        '-f',
        '-o',
        '/dev/null',
        '-P',
        temp,
        '-e',
        'inject=fsync:delay_enter=1500000',
      ]
      const call = callInProcess('replace-file.ts', 'replaceFile', [path, { utf8: 'new' }], { wrapper })
      while (!existsSync(temp)) await new Promise((done) => setTimeout(done, 5))
      if (what === 'written') writeFileSync(path, 'theirs')
      if (what === 'replaced') run('sh', '-c', `echo -n theirs > ${path}.x && mv ${path}.x ${path}`)
      if (what === 'removed') run('rm', path)
      expect((await call).error?.code).toBe('LOCKED')
      expect(existsSync(path) ? readFileSync(path, 'utf8') : undefined).toBe(
        what === 'removed' ? undefined : 'theirs',
      )
      expect(existsSync(temp)).toBe(false)
    },
  )
})

test('a file that somebody puts in place of the finished one is noticed', async (context) => {
  needsTool(context, 'strace')
  const directory = trustedDirectory()
  const path = oldFile(directory)
  const temp = join(directory, '.key.kvx-new')
  const wrapper = ['strace', '-f', '-o', '/dev/null', '-P', temp, '-e', 'inject=rename:delay_enter=2500000']
  const call = callInProcess('replace-file.ts', 'replaceFile', [path, { utf8: 'new' }], { wrapper })
  while (!existsSync(temp)) await new Promise((done) => setTimeout(done, 5))
  await new Promise((done) => setTimeout(done, 800))
  writeFileSync(join(directory, 'evil'), 'evil')
  renameSync(join(directory, 'evil'), temp)
  expect((await call).error).toMatchObject({ code: 'UNSAFE_DIRECTORY', exit: 6 })
})

describe('refusals that leave the old file as it is', () => {
  test('a missing file is not found, it is not created', async () => {
    const path = join(trustedDirectory(), 'key')
    await expect(replaceFile(path, fresh)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    expect(existsSync(path)).toBe(false)
  })

  test('a symbolic link', async () => {
    const directory = trustedDirectory()
    writeFileSync(join(directory, 'file'), 'old')
    symlinkSync('file', join(directory, 'key'))
    const expected = { code: 'UNSAFE_FILE_TYPE', message: expect.stringContaining('symbolic link') as string }
    await expectRefused(join(directory, 'key'), expected, ['file', 'key'])
  })

  test('a directory and a FIFO, within a second', async () => {
    const directory = trustedDirectory()
    mkdirSync(join(directory, 'd'))
    run('mkfifo', join(directory, 'fifo'))
    const start = performance.now()
    for (const name of ['d', 'fifo']) {
      const call = replaceFile(join(directory, name), fresh)
      await expect(call).rejects.toMatchObject({ code: 'UNSAFE_FILE_TYPE' })
    }
    expect(performance.now() - start).toBeLessThan(1000)
  })

  test('a file with another hard link, which would keep the old key', async () => {
    const directory = trustedDirectory()
    linkSync(oldFile(directory), join(directory, 'other'))
    const hint = expect.stringContaining('-samefile') as string
    await expectRefused(join(directory, 'key'), { code: 'UNSAFE_FILE_TYPE', hint }, ['key', 'other'])
  })

  test('a hard link under the temporary name is a dead run and goes, the file is replaced', async () => {
    const directory = trustedDirectory()
    linkSync(oldFile(directory), join(directory, '.key.kvx-new'))
    await replaceFile(join(directory, 'key'), fresh)
    expect(readFileSync(join(directory, 'key'))).toEqual(fresh)
    expect(readdirSync(directory)).toEqual(['key'])
  })

  test('a bind-mounted file', async (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    const path = oldFile(directory)
    const source = join(trustedDirectory(), 'source')
    writeFileSync(source, 'mounted')
    mount(path, '--bind', source)
    const message = expect.stringContaining('mount point') as string
    await expectRefused(path, {
      code: 'IO_ERROR',
      message,
      hint: expect.stringContaining('findmnt') as string,
    })
  })

  test('an immutable file', async (context) => {
    needsRoot(context)
    const path = oldFile()
    try {
      run('chattr', '+i', path)
    } catch {
      context.skip('this file system has no immutable files')
    }
    onTestFinished(() => void run('chattr', '-i', path))
    const hint = expect.stringContaining(`\`chattr -i ${path}\``) as string
    await expectRefused(path, { code: 'IO_ERROR', hint })
  })

  test('a read-only file system', async (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    mount(directory, '-t', 'tmpfs', '-o', 'mode=700', 'tmpfs')
    const path = oldFile(directory)
    run('mount', '-o', 'remount,ro', directory)
    await expectRefused(path, { code: 'IO_ERROR', message: expect.stringContaining('read-only') as string })
  })

  test('a full disk, for want of blocks or of inodes', async (context) => {
    needsRoot(context)
    for (const option of ['size=64k', 'nr_inodes=2']) {
      const directory = trustedDirectory()
      mount(directory, '-t', 'tmpfs', '-o', `mode=700,${option}`, 'tmpfs')
      const path = oldFile(directory)
      const call = replaceFile(path, Buffer.alloc(100_000, 1))
      await expect(call).rejects.toMatchObject({ code: 'DISK_FULL', exit: 9 })
      expect(readFileSync(path, 'utf8')).toBe('old')
      expect(readdirSync(directory)).toEqual(['key'])
    }
  })

  test('a limit for file sizes, reached after a short write', async () => {
    const path = oldFile()
    const wrapper = ['prlimit', '--fsize=10000']
    const args = [path, { zeros: 50_000 }]
    const result = await callInProcess('replace-file.ts', 'replaceFile', args, { wrapper })
    expect(result.error).toMatchObject({
      code: 'DISK_FULL',
      hint: expect.stringContaining('ulimit -f') as string,
    })
    expect(readFileSync(path, 'utf8')).toBe('old')
    expect(readdirSync(join(path, '..'))).toEqual(['key'])
  })

  test('a file of another owner or group, by a user who is not root: refused before anything is written', async (context) => {
    needsOtherUsers(context)
    needsTool(context, 'strace')
    const directory = trustedDirectory()
    const path = oldFile(directory)
    chmodSync(path, 0o644)
    run('chown', '65534:65534', directory)
    for (const owner of ['0:0', '65534:4242']) {
      run('chown', owner, path)
      const before = statSync(directory, { bigint: true }).mtimeNs
      const result = await callInProcess('replace-file.ts', 'replaceFile', [path, { utf8: 'new' }], {
        uid: 65534,
        gid: 65534,
      })
      expect(result.error).toMatchObject({
        code: 'UNSAFE_OWNER',
        exit: 6,
        hint: expect.stringContaining('sudo') as string,
      })
      expect(statSync(directory, { bigint: true }).mtimeNs).toBe(before)
      expect(readFileSync(path, 'utf8')).toBe('old')
    }
    run('chown', '65534:65534', path)
    const own = await callInProcess('replace-file.ts', 'replaceFile', [path, { utf8: 'new' }], {
      uid: 65534,
      gid: 65534,
    })
    expect(own.error).toBeUndefined()
    expect(readFileSync(path, 'utf8')).toBe('new')
  })
})
