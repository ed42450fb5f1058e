import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { createKeyProvider, createStore } from '../../src/index.ts'
import { kvxOk } from '../support/cli.ts'
import { needsOtherUsers, needsTool } from '../support/needs.ts'
import { run } from '../support/trusted-directory.ts'
import { kvcrypt, vaultPlace, type VaultPlace, writeKey } from './vault-tools.ts'

/** Numbers stand for the groups tk-readers and ma-readers and for users: no accounts are needed. */
const [tkReaders, maReaders] = [4_242_401, 4_242_402]
const user = 4_242_499

beforeEach((context) => {
  needsOtherUsers(context)
  needsTool(context, 'setfacl')
})

/** Keys as `kvx keygen` makes them for groups of readers, and a vault under each. */
async function vaultsWithReaders(): Promise<VaultPlace> {
  const place = vaultPlace([])
  for (const [vault, group] of [
    ['tk', tkReaders],
    ['ma', maReaders],
  ] as const) {
    kvxOk(['keygen', vault, '--dir', place.keyDir, '--reader', String(group)])
  }
  const store = createStore({
    storageDir: place.storageDir,
    keyProvider: createKeyProvider({ keyDir: place.keyDir }),
  })
  await store.put('tk', { secret: 'of tk' })
  await store.put('ma', { secret: 'of ma' })
  return place
}

function as(groups: readonly number[], args: readonly string[]) {
  const [first = user] = groups
  return kvcrypt(args, { uid: user, gid: first })
}

function acl(path: string): string {
  return run('getfacl', '-cpEn', path).trim().replaceAll('\n', ' ')
}

describe('key files, groups and ACLs', () => {
  it('lets a user of tk-readers read the vault tk and not ma, through program and library', async () => {
    const place = await vaultsWithReaders()
    expect(as([tkReaders], ['get', 'tk', 'secret', ...place.flags])).toMatchObject({
      exit: 0,
      stdout: 'of tk\n',
    })
    const refused = as([tkReaders], ['get', 'ma', 'secret', ...place.flags])
    expect(refused.exit).toBe(9)
    expect(refused.stderr).toMatch(/permission denied/)
    expect(refused.stderr + refused.stdout).not.toContain('of ma')
    expect(as([maReaders], ['get', 'ma', 'secret', ...place.flags]).stdout).toBe('of ma\n')
    expect(as([user], ['get', 'tk', 'secret', ...place.flags]).exit).toBe(9)

    const script = `
      import { createKeyProvider, createStore } from ${JSON.stringify(join(import.meta.dirname, '../../dist/lib/index.mjs'))}
      const store = createStore({ storageDir: ${JSON.stringify(place.storageDir)}, keyProvider: createKeyProvider({ keyDir: ${JSON.stringify(place.keyDir)} }) })
      const read = async (vault) => store.get(vault, 'secret').catch((error) => error.code)
      console.log(await read('tk'), '|', await read('ma'))`
    const options = { uid: user, gid: tkReaders, cwd: '/', encoding: 'utf8' } as const
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', script], options)
    expect(result.stdout).toBe('of tk | IO_ERROR\n')
  })

  it('lets readers neither put nor delete', async () => {
    const place = await vaultsWithReaders()
    const put = as([tkReaders], ['put', 'tk', '{"a":1}', ...place.flags])
    expect(put.exit).toBe(6)
    expect(as([tkReaders], ['get', 'tk', '-', ...place.flags]).stdout).toBe('{"secret":"of tk"}\n')
  })

  it('gives a new vault the readers of its key, for reading alone, and keeps what an operator made of it', async () => {
    const place = await vaultsWithReaders()
    expect(acl(place.file('tk'))).toBe(acl(join(place.keyDir, 'tk.key')))
    expect(acl(place.file('tk'))).toContain(`group:${tkReaders}:r--`)
    run('setfacl', '-m', `u:${user}:r,g:${maReaders}:rw`, place.file('tk'))
    chownSync(place.file('tk'), 0, tkReaders)
    const before = [acl(place.file('tk')), statSync(place.file('tk')).gid]
    expect(kvcrypt(['put', 'tk', '{"b":2}', ...place.flags]).exit).toBe(0)
    expect([acl(place.file('tk')), statSync(place.file('tk')).gid]).toEqual(before)
  })

  it('gives inherited entries of the directory to no vault', async () => {
    const place = vaultPlace(['tk'])
    run('setfacl', '-d', '-m', `u:${user}:rwx`, place.storageDir)
    expect(kvcrypt(['put', 'tk', '{"a":1}', ...place.flags]).exit).toBe(0)
    expect(kvcrypt(['put', 'tk', '{"a":2}', ...place.flags]).exit).toBe(0)
    for (const name of ['tk.enc', '.tk.generation']) {
      expect(acl(join(place.storageDir, name)), name).toBe('user::rw- group::r-- other::---')
    }
  })

  it('lets the owner of a store who is not root work alone', async () => {
    const place = vaultPlace([])
    for (const directory of [place.keyDir, place.storageDir]) chownSync(directory, user, user)
    writeKey(join(place.keyDir, 'tk.key'), randomBytes(32))
    chownSync(join(place.keyDir, 'tk.key'), 0, user)
    chmodSync(join(place.keyDir, 'tk.key'), 0o640)
    expect(as([user], ['put', 'tk', '{"a":1}', ...place.flags])).toMatchObject({ exit: 0 })
    expect(as([user], ['get', 'tk', 'a', ...place.flags]).stdout).toBe('1\n')
    // What root wrote into a user's vault stays the user's.
    expect(kvcrypt(['put', 'tk', '{"b":2}', ...place.flags])).toMatchObject({ exit: 6 })
    expect(statSync(place.file('tk')).uid).toBe(user)
  })
})
