import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { expectSilence, treeHash } from '../checks/tree.ts'
import { kvx, kvxJson } from '../support/cli.ts'
import { needsOtherUsers, needsRoot, needsTool } from '../support/needs.ts'
import { mount, run, trustedDirectory } from '../support/trusted-directory.ts'

beforeEach((context) => needsTool(context, 'setfacl'))

const nobody = { uid: 65534, gid: 65534 }

function nobodysDirectory(): string {
  const directory = trustedDirectory()
  chownSync(directory, 65534, 65534)
  return directory
}

describe('a refusal changes nothing, says why, and ends as its kind does', () => {
  const long = 'n'.repeat(65)
  test.each([
    ['a name with a slash', 2, 'USAGE', ['../tk', '--dir', 'D']],
    ['a name of dots', 2, 'USAGE', ['..', '--dir', 'D']],
    ['a name of one dot', 2, 'USAGE', ['.', '--dir', 'D']],
    ['a hidden name', 2, 'USAGE', ['.tk', '--dir', 'D']],
    ['a name with dots inside', 2, 'USAGE', ['a..b', '--dir', 'D']],
    ['an empty name', 2, 'USAGE', ['', '--dir', 'D']],
    ['a name with an escape sequence', 2, 'USAGE', ['tk\u001b[31m', '--dir', 'D']],
    ['a name with a line break', 2, 'USAGE', ['tk\nx', '--dir', 'D']],
    ['a name with a space', 2, 'USAGE', ['t k', '--dir', 'D']],
    ['a name that is too long', 2, 'USAGE', [long, '--dir', 'D']],
    ['no name', 2, 'USAGE', ['--dir', 'D']],
    ['two names', 2, 'USAGE', ['a', 'b', '--dir', 'D']],
    ['both places', 2, 'USAGE', ['tk', '--dir', 'D', '--out', 'D/x']],
    ['a place that is empty', 2, 'USAGE', ['tk', '--out', '']],
    ['a directory that is empty', 2, 'USAGE', ['tk', '--dir', '']],
    ['a file that ends in a slash', 2, 'USAGE', ['tk', '--out', 'D/x/']],
    ['a directory that is missing', 2, 'FILE_NOT_FOUND', ['tk', '--dir', 'D/none']],
    ['a directory that is a file', 2, 'FILE_NOT_FOUND', ['tk', '--dir', 'D/file']],
    ['a parent that is missing', 2, 'FILE_NOT_FOUND', ['tk', '--out', 'D/none/tk.key']],
    ['a group that is unknown', 2, 'USAGE', ['tk', '--dir', 'D', '--group', 'no-such-group']],
    ['a reader that is unknown', 2, 'USAGE', ['tk', '--dir', 'D', '--reader', 'no-such-group']],
    ['an owner who is unknown', 2, 'USAGE', ['tk', '--dir', 'D', '--owner', 'no-such-user']],
    ['an encoding that is unknown', 2, 'USAGE', ['tk', '--dir', 'D', '--encoding', 'rot13']],
    ['a mode that is none', 2, 'USAGE', ['tk', '--dir', 'D', '--mode', 'u=rw']],
    ['a mode with set-id bits', 2, 'USAGE', ['tk', '--dir', 'D', '--mode', '4640']],
    ['a mode for everybody', 6, 'UNSAFE_MODE', ['tk', '--dir', 'D', '--mode', '0644']],
    ['a mode with which the group writes', 6, 'UNSAFE_MODE', ['tk', '--dir', 'D', '--mode', '0660']],
    ['a mode without reading', 6, 'UNSAFE_MODE', ['tk', '--dir', 'D', '--mode', '0000']],
    ['a flag that is unknown', 2, 'USAGE', ['tk', '--dir', 'D', '--force']],
    ['a key as the name', 2, 'SECRET_IN_ARGUMENT', ['ab'.repeat(32), '--dir', 'D']],
  ] as const)('%s', (_, exit, code, args) => {
    const directory = trustedDirectory()
    writeFileSync(join(directory, 'file'), 'x')
    const before = treeHash(directory)
    const placed = args.map((word) =>
      word === 'D' || word.startsWith('D/') ? directory + word.slice(1) : word,
    )
    const result = kvx(['keygen', ...placed], { cwd: directory })
    expect(result.exit).toBe(exit)
    expectSilence(result)
    expect(result.stderr).not.toMatch(/\p{Cc}(?<!\n)|tk\nx/u)
    expect(result.stderr).toMatch(/^kvx: .+\n.*→ .+/)
    const dry = kvxJson(['keygen', ...placed, '--dry-run'], { cwd: directory })
    expect(dry).toMatchObject({ exit, error: { code } })
    expect(treeHash(directory)).toBe(before)
  })

  test.each([
    ['others can write in it', (path: string) => chmodSync(path, 0o777)],
    ['its group can write in it', (path: string) => chmodSync(path, 0o775)],
    ['it is sticky', (path: string) => chmodSync(path, 0o1777)],
    ['an ACL lets a user write in it', (path: string) => run('setfacl', '-m', 'u:4242:rwx', path)],
    ['somebody else owns it', (path: string) => chownSync(path, 4242, 0)],
    [
      'a directory above it can be written by others',
      (path: string) => {
        mkdirSync(join(path, 'deep'))
        chmodSync(path, 0o777)
      },
    ],
  ] as const)('a directory that is not to be trusted: %s', (_, spoil) => {
    const directory = trustedDirectory()
    spoil(directory)
    const deep = join(directory, 'deep')
    const place = existsSync(deep) ? deep : directory
    const before = treeHash(directory)
    for (const more of [[], ['--dry-run']]) {
      const document = kvxJson(['keygen', 'tk', '--dir', place, ...more])
      expect(document).toMatchObject({ exit: 6, error: { code: 'UNSAFE_DIRECTORY' } })
      expect(document.error?.hint).toMatch(/`(chmod|chown|install) /)
    }
    expect(treeHash(directory)).toBe(before)
  })

  test('a directory that this user does not own, and one that he closed for himself', (context) => {
    needsOtherUsers(context)
    const roots = trustedDirectory(0o755)
    const closed = nobodysDirectory()
    chmodSync(closed, 0o500)
    for (const directory of [roots, closed]) {
      const before = treeHash(directory)
      const result = kvxJson(['keygen', 'tk', '--dir', directory], { ...nobody, cwd: '/' })
      expect(result).toMatchObject({ exit: 6, error: { code: 'UNSAFE_DIRECTORY' } })
      expect(treeHash(directory)).toBe(before)
    }
  })

  test('a file system that keeps no ACLs', (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    mount(directory, '-t', 'ramfs', 'ramfs')
    chmodSync(directory, 0o700)
    const result = kvxJson(['keygen', 'tk', '--dir', directory, '--reader', '4242'])
    expect(result).toMatchObject({ exit: 9, error: { code: 'ACL_UNSUPPORTED' } })
    expect(readdirSync(directory)).toEqual([])
  })

  test('an owner or group that this user cannot give', (context) => {
    needsOtherUsers(context)
    const directory = nobodysDirectory()
    for (const who of [
      ['--owner', 'root'],
      ['--group', 'root'],
    ]) {
      const result = kvxJson(['keygen', 'tk', '--dir', directory, ...who], { ...nobody, cwd: '/' })
      expect(result).toMatchObject({ exit: 6, error: { code: 'UNSAFE_OWNER' } })
    }
    expect(readdirSync(directory)).toEqual([])
  })
})
