import { openSync, chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { groupId, groupName, userId, userName } from '../../src/platform/accounts.ts'
import {
  type Acl,
  applyAcl,
  effectiveAcl,
  expectedAcl,
  maskedEntries,
  modeOfAcl,
  parseAcl,
  readAclAt,
  renderAcl,
  requireSameAcl,
  supportsAcl,
} from '../../src/platform/acl.ts'
import { needsRoot, needsTool } from '../support/needs.ts'
import { mount, run, trustedDirectory } from '../support/trusted-directory.ts'

beforeEach((context) => needsTool(context, 'setfacl'))

function newFile(mode: number, ...setfacl: string[]): string {
  const path = join(trustedDirectory(), 'key')
  writeFileSync(path, 'k')
  chmodSync(path, mode)
  if (setfacl.length > 0) run('setfacl', ...setfacl, path)
  return path
}

describe('the mask', () => {
  test('after chmod 600 named groups and the owning group read no more, and the lost entries are named', async () => {
    const path = newFile(0o640, '-m', 'g:4242:r')
    chmodSync(path, 0o600)
    const acl = await readAclAt(path)
    expect(acl).toMatchObject({ group: 4, mask: 0, groups: [{ id: 4242, rights: 4 }] })
    expect(effectiveAcl(acl)).toMatchObject({ group: 0, groups: [{ id: 4242, rights: 0 }] })
    expect(maskedEntries(acl)).toEqual(['group::r--', 'group:4242:r--'])
    chmodSync(path, 0o640)
    expect(maskedEntries(await readAclAt(path))).toEqual([])
  })

  test('is what stat shows as the group, so that a wide mode can be a narrow ACL', async () => {
    const path = newFile(0o640, '-m', 'g::---,g:4242:rw')
    const acl = await readAclAt(path)
    expect(statSync(path).mode & 0o777).toBe(0o660)
    expect(modeOfAcl(acl)).toBe(0o660)
    expect(effectiveAcl(acl).group).toBe(0)
  })
})

describe('reading and rendering', () => {
  test('the text of getfacl comes back as it was, numbers in order', async () => {
    const path = newFile(0o640, '-m', 'u:77:rw,u:5:-,g:9:r,g:4242:rwx')
    const acl = await readAclAt(path)
    expect(renderAcl(acl).trim()).toBe(run('getfacl', '-cpEn', path).trim())
    expect(parseAcl(renderAcl(acl))).toEqual(acl)
  })

  test('default entries of a directory are not taken for its own', async () => {
    const path = join(trustedDirectory(), 'd')
    mkdirSync(path, 0o700)
    run('setfacl', '-d', '-m', 'u:4242:rwx', path)
    expect(await readAclAt(path)).toMatchObject({ users: [], mask: undefined })
  })

  test.each([
    '',
    'user::rw-\n',
    'user::rwz\ngroup::---\nother::---\n',
    'mask:3:r--\nuser::rw-\ngroup::---\nother::---\n',
  ])('anything else is not an ACL: %j', (text) => expect(parseAcl(text)).toBeUndefined())

  test('a symbolic link is refused, a missing file not found', async () => {
    const directory = trustedDirectory()
    symlinkSync('x', join(directory, 'link'))
    await expect(readAclAt(join(directory, 'link'))).rejects.toMatchObject({ code: 'UNSAFE_FILE_TYPE' })
    await expect(readAclAt(join(directory, 'none'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })
})

describe('expectedAcl', () => {
  test('readers get r-- each, once, and a mask that cuts nothing', () => {
    const acl = expectedAcl({ mode: 0o600, readers: [9, 5, 9] })
    expect(renderAcl(acl)).toBe('user::rw-\ngroup::---\ngroup:5:r--\ngroup:9:r--\nmask::r--\nother::---\n')
    expect(maskedEntries(acl)).toEqual([])
    expect(modeOfAcl(acl)).toBe(0o640)
    expect(modeOfAcl(expectedAcl({ mode: 0o660, readers: [5] }))).toBe(0o660)
  })

  test('without readers it is the mode alone', () => {
    expect(renderAcl(expectedAcl({ mode: 0o640 }))).toBe('user::rw-\ngroup::r--\nother::---\n')
  })
})

describe('applying', () => {
  const wanted: Acl = { ...expectedAcl({ mode: 0o640, readers: [4242] }), users: [{ id: 7, rights: 0 }] }

  test('sets every entry, takes the others away and compares', async () => {
    const path = newFile(0o666, '-m', 'u:1:rwx,g:2:rwx')
    const fd = openSync(path, 'r')
    await applyAcl(fd, wanted)
    closeSync(fd)
    expect(await readAclAt(path)).toEqual(wanted)
  })

  test('a difference in the mask alone is a difference', () => {
    expect(() => requireSameAcl({ ...wanted, mask: 0 }, wanted)).toThrowError(
      expect.objectContaining({ code: 'ACL_DIFFERS', exit: 6 }) as Error,
    )
  })

  test('a file system without ACLs is found by writing: readers are refused there, a plain mode is not', async (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    mount(directory, '-t', 'ramfs', 'ramfs')
    writeFileSync(join(directory, 'key'), 'k')
    const fd = openSync(join(directory, 'key'), 'r')
    await expect(applyAcl(fd, wanted)).rejects.toMatchObject({ code: 'ACL_UNSUPPORTED', exit: 9 })
    await applyAcl(fd, expectedAcl({ mode: 0o640 }))
    closeSync(fd)
    expect(statSync(join(directory, 'key')).mode & 0o777).toBe(0o640)
    expect(await supportsAcl(directory)).toBe(false)
    expect(await supportsAcl(trustedDirectory())).toBe(true)
  })
})

describe('accounts', () => {
  test('names become numbers and back, numbers stay', async () => {
    expect(await userId('root')).toBe(0)
    expect(await groupId('root')).toBe(0)
    expect(await groupId('4242')).toBe(4242)
    expect(await groupId(4242)).toBe(4242)
    expect(await userName(0)).toBe('root')
    expect(await groupName(3_999_999_999)).toBeUndefined()
  })

  test('an unknown group is an error of usage with the command that makes it', async () => {
    await expect(groupId('kvx-no-such-group')).rejects.toMatchObject({
      code: 'USAGE',
      hint: expect.stringContaining('`groupadd --system kvx-no-such-group`') as string,
    })
    await expect(userId('kvx-no-such-user')).rejects.toMatchObject({ code: 'USAGE' })
  })

  test.each(['', '-h', '--help', 'a b', 'a:b', 'a\nb', '4294967295', '99999999999'])(
    'what cannot be a name or a number never reaches the tool: %j',
    async (name) => {
      await expect(groupId(name)).rejects.toMatchObject({ code: 'USAGE' })
    },
  )
})
