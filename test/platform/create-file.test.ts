import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectedAcl, readAclAt } from '../../src/platform/acl.ts'
import { createFile } from '../../src/platform/create-file.ts'
import { lstatFacts } from '../../src/platform/files.ts'
import { needsOtherUsers, needsRoot, needsTool } from '../support/needs.ts'
import { callInProcess, inPlaceOf } from '../support/platform-process.ts'
import { callWithFault } from '../support/strace.ts'
import { mount, run, trustedDirectory } from '../support/trusted-directory.ts'

beforeEach((context) => needsTool(context, 'setfacl'))

const bytes = Buffer.from('0123456789abcdef')

test('a new file has exactly the owner, group, mode and readers, and the facts that are given back', async (context) => {
  needsRoot(context)
  const path = join(trustedDirectory(), 'key')
  const facts = await createFile(path, bytes, {
    mode: 0o640,
    owner: 4241,
    group: '4242',
    readers: [4243, 'root'],
  })
  expect(readFileSync(path)).toEqual(bytes)
  expect(facts).toMatchObject({ uid: 4241, gid: 4242, mode: 0o640, size: 16, nlink: 1 })
  expect(await readAclAt(path)).toEqual(expectedAcl({ mode: 0o640, readers: [0, 4243] }))
  expect(await lstatFacts(path)).toEqual(facts)
})

test.each([0o600, 0o400, 0o640, 0o440, 0o644])('the mode is exact under any umask: %o', async (mode) => {
  const directory = trustedDirectory()
  for (const umask of ['000', '077', '777']) {
    const path = join(directory, umask)
    const wrapper = ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh']
    const { error } = await callInProcess('create-file.ts', 'createFile', [path, { utf8: 'k' }, { mode }], {
      wrapper,
    })
    expect(error).toBeUndefined()
    expect(statSync(path).mode & 0o7777).toBe(mode)
  }
})

test('nothing of a default ACL of the directory stays, and a later chmod opens nothing', async () => {
  const directory = trustedDirectory()
  run('setfacl', '-d', '-m', 'u:4242:rw,g:4243:r,o::r', directory)
  for (const mode of [0o600, 0o640]) {
    const path = join(directory, mode.toString(8))
    await createFile(path, bytes, { mode })
    expect(await readAclAt(path)).toEqual(expectedAcl({ mode }))
  }
})

test('a whole ACL can be given', async () => {
  const path = join(trustedDirectory(), 'key')
  const acl = { ...expectedAcl({ mode: 0o600, readers: [7] }), users: [{ id: 9, rights: 0 }] }
  await createFile(path, bytes, { mode: 0o600, acl })
  expect(await readAclAt(path)).toEqual(acl)
})

describe('never over what has the name', () => {
  test.each(['file', 'empty file', 'directory', 'dangling link', 'FIFO'])('%s', async (kind) => {
    const directory = trustedDirectory()
    const path = join(directory, 'key')
    if (kind === 'file') writeFileSync(path, 'precious')
    if (kind === 'empty file') writeFileSync(path, '')
    if (kind === 'directory') mkdirSync(path)
    if (kind === 'dangling link') symlinkSync(join(directory, 'elsewhere'), path)
    if (kind === 'FIFO') run('mkfifo', path)
    const before = await lstatFacts(path)
    const untouched = await lstatFacts(directory)
    await expect(createFile(path, bytes, { mode: 0o600 })).rejects.toMatchObject({
      code: 'TARGET_EXISTS',
      exit: 2,
    })
    expect(await lstatFacts(path)).toEqual(before)
    expect(await lstatFacts(directory), 'nothing was written beside it').toEqual(untouched)
  })

  test('a file that appears at the last moment', async (context) => {
    needsTool(context, 'strace')
    const directory = trustedDirectory()
    const path = join(directory, 'key')
    const temp = join(directory, '.key.kvx-new')
    const wrapper = ['strace', '-f', '-o', '/dev/null', '-P', temp, '-e', 'inject=fsync:delay_enter=1500000']
    const call = callInProcess('create-file.ts', 'createFile', [path, { utf8: 'new' }, { mode: 0o600 }], {
      wrapper,
    })
    while (!existsSync(temp)) await new Promise((done) => setTimeout(done, 5))
    writeFileSync(path, 'precious')
    expect((await call).error?.code).toBe('TARGET_EXISTS')
    expect(readFileSync(path, 'utf8')).toBe('precious')
    expect(readdirSync(directory)).toEqual(['key'])
  })
})

describe('a leftover of a dead run', () => {
  test('is replaced, whatever it is, without touching what it points to', async () => {
    for (const kind of ['file', 'link', 'hard link']) {
      const directory = trustedDirectory()
      const [path, temp, other] = ['key', '.key.kvx-new', 'other'].map((name) => join(directory, name)) as [
        string,
        string,
        string,
      ]
      writeFileSync(other, 'precious')
      if (kind === 'file') writeFileSync(temp, 'torn')
      if (kind === 'link') symlinkSync(other, temp)
      if (kind === 'hard link') linkSync(other, temp)
      await createFile(path, bytes, { mode: 0o600 })
      expect(readFileSync(path)).toEqual(bytes)
      expect(readFileSync(other, 'utf8')).toBe('precious')
      expect(readdirSync(directory).sort()).toEqual(['key', 'other'])
    }
  })
})

test('a file that somebody puts at the temporary name after it was cleared is not written into', async (context) => {
  needsTool(context, 'strace')
  const directory = trustedDirectory()
  const [path, temp] = [join(directory, 'key'), join(directory, '.key.kvx-new')]
  writeFileSync(temp, 'planted')
  // strace answers the clearing unlink with "missing" and leaves the file there.
  const fault = { inject: 'unlink:error=ENOENT:when=1', paths: [temp] }
  const args = [path, { utf8: 'key bytes' }, { mode: 0o600 }]
  const result = await callWithFault(fault, 'create-file.ts', 'createFile', args)
  expect(result.error).toMatchObject({ code: 'LOCKED', exit: 8 })
  expect(readFileSync(temp, 'utf8')).toBe('planted')
  expect(existsSync(path)).toBe(false)
})

test('a tool that sets nothing and says that it did is found out', async (context) => {
  needsRoot(context)
  const path = join(trustedDirectory(), 'key')
  const wrapper = inPlaceOf('/usr/bin/setfacl', '/bin/true')
  const args = [path, { utf8: 'k' }, { mode: 0o600, readers: [7] }]
  const result = await callInProcess('create-file.ts', 'createFile', args, { wrapper })
  if (result.stderr.includes('unshare')) context.skip('mount namespaces are not allowed here')
  expect(result.error).toMatchObject({ code: 'ACL_DIFFERS', exit: 6 })
  expect(existsSync(path)).toBe(false)
})

describe('refusals before anything is written', () => {
  test('an unknown owner, group or reader, and a mode that a file should not have', async () => {
    const directory = trustedDirectory()
    const path = join(directory, 'key')
    const usage = { code: 'USAGE' }
    await expect(createFile(path, bytes, { mode: 0o600, owner: 'kvx-none' })).rejects.toMatchObject(usage)
    await expect(createFile(path, bytes, { mode: 0o600, group: 'kvx-none' })).rejects.toMatchObject(usage)
    await expect(createFile(path, bytes, { mode: 0o600, readers: ['kvx-none'] })).rejects.toMatchObject(usage)
    for (const mode of [0o4600, 0o1600, 0o10600, -1, 0.5]) {
      await expect(createFile(path, bytes, { mode })).rejects.toMatchObject(usage)
    }
    expect(readdirSync(directory)).toEqual([])
  })

  test('an owner or a group that only root could give', async (context) => {
    needsOtherUsers(context)
    const directory = trustedDirectory()
    run('chown', '65534:65534', directory)
    const path = join(directory, 'key')
    for (const access of [{ owner: 0 }, { group: 4242 }]) {
      const args = [path, { utf8: 'k' }, { mode: 0o600, ...access }]
      const result = await callInProcess('create-file.ts', 'createFile', args, { uid: 65534, gid: 65534 })
      expect(result.error).toMatchObject({ code: 'UNSAFE_OWNER', exit: 6 })
    }
    expect(readdirSync(directory)).toEqual([])
    const own = [path, { utf8: 'k' }, { mode: 0o440, readers: [4242] }]
    const result = await callInProcess('create-file.ts', 'createFile', own, { uid: 65534, gid: 65534 })
    expect(result.error).toBeUndefined()
    expect(await readAclAt(path)).toEqual(expectedAcl({ mode: 0o440, readers: [4242] }))
  })

  test('a directory that this user may not write in: permission denied with advice', async (context) => {
    needsOtherUsers(context)
    const directory = trustedDirectory(0o755)
    const args = [join(directory, 'key'), { utf8: 'k' }, { mode: 0o600 }]
    const result = await callInProcess('create-file.ts', 'createFile', args, { uid: 65534, gid: 65534 })
    expect(result.error).toMatchObject({
      code: 'IO_ERROR',
      message: expect.stringContaining('permission denied') as string,
    })
  })

  test('a missing directory is not found', async () => {
    const path = join(trustedDirectory(), 'none', 'key')
    await expect(createFile(path, bytes, { mode: 0o600 })).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })
})

test('on a file system without ACLs a file with readers is not made, one without is', async (context) => {
  needsRoot(context)
  const directory = trustedDirectory()
  mount(directory, '-t', 'ramfs', 'ramfs')
  const path = join(directory, 'key')
  const refused = createFile(path, bytes, { mode: 0o640, readers: [7] })
  await expect(refused).rejects.toMatchObject({ code: 'ACL_UNSUPPORTED', exit: 9 })
  expect(readdirSync(directory)).toEqual([])
  await createFile(path, bytes, { mode: 0o640 })
  expect(statSync(path).mode & 0o7777).toBe(0o640)
})
