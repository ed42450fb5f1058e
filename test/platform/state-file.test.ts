import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { effectiveAcl, readAclAt } from '../../src/platform/acl.ts'
import { appendDurable, openAppender } from '../../src/platform/append-file.ts'
import { lstatFacts } from '../../src/platform/files.ts'
import { writeState } from '../../src/platform/state-file.ts'
import { needsOtherUsers, needsRoot, needsTool } from '../support/needs.ts'
import { callInProcess } from '../support/platform-process.ts'
import { mount, run, trustedDirectory } from '../support/trusted-directory.ts'

const bytes = Buffer.from('state')

describe('writeState', () => {
  test('creates and replaces with mode 0600, and gives facts of what lies there', async () => {
    const path = join(trustedDirectory(), 'keyring.json')
    const first = await writeState(path, bytes)
    chmodSync(path, 0o644)
    const second = await writeState(path, Buffer.from('more'))
    expect(second.ino).not.toBe(first.ino)
    expect(second).toEqual(await lstatFacts(path))
    expect(second).toMatchObject({ mode: 0o600, uid: process.geteuid?.(), size: 4 })
    expect(readFileSync(path, 'utf8')).toBe('more')
  })

  test('lets nobody in whom a default ACL of the directory names', async (context) => {
    needsTool(context, 'setfacl')
    const directory = trustedDirectory()
    run('setfacl', '-d', '-m', 'u:4242:rw,g:4243:r,o::r', directory)
    const path = join(directory, 'state')
    await writeState(path, bytes)
    const acl = effectiveAcl(await readAclAt(path))
    expect([...acl.users, ...acl.groups].every((entry) => entry.rights === 0)).toBe(true)
    expect(acl).toMatchObject({ group: 0, other: 0 })
  })

  test('refuses a link and a directory in place of the file', async () => {
    const directory = trustedDirectory()
    writeFileSync(join(directory, 'file'), 'precious')
    symlinkSync('file', join(directory, 'link'))
    mkdirSync(join(directory, 'd'))
    for (const name of ['link', 'd']) {
      const call = writeState(join(directory, name), bytes)
      await expect(call).rejects.toMatchObject({ code: 'UNSAFE_FILE_TYPE' })
    }
    expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('precious')
  })

  test('refuses a file of another owner, as a user who is not root', async (context) => {
    needsOtherUsers(context)
    const directory = trustedDirectory()
    run('chown', '65534:65534', directory)
    const path = join(directory, 'state')
    writeFileSync(path, 'old')
    const result = await callInProcess('state-file.ts', 'writeState', [path, { utf8: 'x' }], {
      uid: 65534,
      gid: 65534,
    })
    expect(result.error?.code).toBe('UNSAFE_OWNER')
    expect(readFileSync(path, 'utf8')).toBe('old')
  })

  test('on a full disk the old state stays whole', async (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    mount(directory, '-t', 'tmpfs', '-o', 'mode=700,size=180k', 'tmpfs')
    const path = join(directory, 'state')
    await writeState(path, Buffer.alloc(100_000, 'o'))
    const call = writeState(path, Buffer.alloc(100_000, 'n'))
    await expect(call).rejects.toMatchObject({ code: 'DISK_FULL' })
    expect(readFileSync(path)).toEqual(Buffer.alloc(100_000, 'o'))
    expect(readdirSync(directory)).toEqual(['state'])
  })
})

describe('appending', () => {
  test('keeps what is there, makes a new file with mode 0600 under any umask, and gives the length', async () => {
    const path = join(trustedDirectory(), 'log')
    expect(await appendDurable(path, Buffer.from('one\n'))).toBe(4)
    expect(await appendDurable(path, Buffer.from('two\n'))).toBe(8)
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n')
    expect(statSync(path).mode & 0o7777).toBe(0o600)
  })

  test('refuses links and special files', async () => {
    const directory = trustedDirectory()
    symlinkSync('elsewhere', join(directory, 'link'))
    run('mkfifo', join(directory, 'fifo'))
    for (const name of ['link', 'fifo']) {
      const call = appendDurable(join(directory, name), bytes)
      await expect(call).rejects.toMatchObject({ code: 'UNSAFE_FILE_TYPE' })
    }
    expect(readdirSync(directory).sort()).toEqual(['fifo', 'link'])
  })

  test('on a full disk the file is cut back to its length before, byte for byte', async (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    mount(directory, '-t', 'tmpfs', '-o', 'mode=700,size=128k', 'tmpfs')
    const path = join(directory, 'log')
    await appendDurable(path, Buffer.alloc(100_001, 'o'))
    const call = appendDurable(path, Buffer.alloc(100_000, 'n'))
    await expect(call).rejects.toMatchObject({ code: 'DISK_FULL' })
    expect(readFileSync(path)).toEqual(Buffer.alloc(100_001, 'o'))
  })

  test('an appender counts its length, and takes nothing more after a failure', async (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    mount(directory, '-t', 'tmpfs', '-o', 'mode=700,size=64k', 'tmpfs')
    const path = join(directory, 'backup')
    const appender = await openAppender(path)
    await appender.append(Buffer.alloc(1000, 1))
    await appender.append(Buffer.alloc(1000, 2))
    await appender.sync()
    expect(appender.length).toBe(2000)
    await expect(appender.append(Buffer.alloc(100_000, 3))).rejects.toMatchObject({ code: 'DISK_FULL' })
    expect(appender.length).toBe(2000)
    await expect(appender.append(Buffer.alloc(1))).rejects.toMatchObject({ code: 'IO_ERROR' })
    await expect(appender.sync()).rejects.toMatchObject({ code: 'IO_ERROR' })
    await appender.close()
    expect(statSync(path).size).toBe(2000)
    const again = await openAppender(path)
    expect(again.length).toBe(2000)
    await again.close()
  })
})
