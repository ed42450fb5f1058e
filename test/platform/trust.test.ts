import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkDirectoryTrust } from '../../src/platform/trust.ts'
import { needsRoot, needsTool } from '../support/needs.ts'
import { run, trustedDirectory } from '../support/trusted-directory.ts'

function nested(...names: string[]): string {
  const path = join(trustedDirectory(), ...names)
  mkdirSync(path, { recursive: true, mode: 0o755 })
  return path
}

async function expectDistrust(path: string, directory: string, command: string): Promise<void> {
  await expect(checkDirectoryTrust(path)).rejects.toMatchObject({
    code: 'UNSAFE_DIRECTORY',
    exit: 6,
    message: expect.stringContaining(directory) as string,
    hint: expect.stringContaining(`\`${command}`) as string,
  })
}

describe('a directory is trusted', () => {
  test('when it and all its ancestors belong to root or the process and nobody else writes there', async () => {
    await checkDirectoryTrust(nested('a', 'b'))
    await checkDirectoryTrust('/usr/bin')
    await checkDirectoryTrust('/')
  })

  test('below a sticky directory of root, as this one is', async () => {
    await checkDirectoryTrust(trustedDirectory())
  })

  test('when it belongs to an owner whom the caller accepts', async (context) => {
    needsRoot(context)
    const path = nested('a')
    run('chown', '4242', path)
    await expectDistrust(path, path, `chown root ${path}`)
    await checkDirectoryTrust(path, { owner: 4242 })
    await expect(checkDirectoryTrust(path, { owner: 4243 })).rejects.toMatchObject({
      code: 'UNSAFE_DIRECTORY',
    })
  })
})

describe('a directory is refused, by name and with the command that mends it', () => {
  test.each([0o775, 0o757, 0o777])('when others write in it: %o', async (mode) => {
    const path = nested('a')
    chmodSync(path, mode)
    await expectDistrust(path, path, `chmod go-w ${path}`)
  })

  test('when others write in an ancestor', async () => {
    const path = nested('open', 'b')
    chmodSync(join(path, '..'), 0o777)
    await expectDistrust(path, join(path, '..'), 'chmod go-w')
  })

  test('when an ancestor belongs to somebody else', async (context) => {
    needsRoot(context)
    const path = nested('theirs', 'b')
    run('chown', '4242', join(path, '..'))
    await expectDistrust(path, join(path, '..'), 'chown root')
  })

  test('when an ACL lets somebody write in it', async (context) => {
    needsTool(context, 'setfacl')
    const path = nested('a')
    run('setfacl', '-m', 'u:4242:rwx', path)
    await expectDistrust(path, path, `chmod go-w ${path}`)
  })

  test('when it is a sticky directory itself', async () => {
    await expectDistrust('/var/tmp', '/var/tmp', 'install -d -m 0700 /var/tmp/kvx')
  })

  test('when a sticky ancestor is not of root', async (context) => {
    needsRoot(context)
    const path = nested('sticky', 'b')
    chmodSync(join(path, '..'), 0o1777)
    await checkDirectoryTrust(path)
    run('chown', '4242', join(path, '..'))
    await expectDistrust(path, join(path, '..'), 'chown root')
  })

  test('when a link leads to such a place', async () => {
    const path = nested('open', 'b')
    chmodSync(join(path, '..'), 0o777)
    const link = join(trustedDirectory(), 'link')
    symlinkSync(path, link)
    await expectDistrust(link, join(path, '..'), 'chmod go-w')
  })

  test('when it is a file; a missing one is not found', async () => {
    const directory = trustedDirectory()
    writeFileSync(join(directory, 'file'), '')
    const file = checkDirectoryTrust(join(directory, 'file'))
    await expect(file).rejects.toMatchObject({ code: 'UNSAFE_DIRECTORY' })
    const missing = checkDirectoryTrust(join(directory, 'none'))
    await expect(missing).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })
})
