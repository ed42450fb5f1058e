import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { begun, closeStates } from '../support/states.ts'
import { treeFiles, type Workspace } from '../support/workspace.ts'

/** What people say stands in the log for ever, so nothing that looks like a key gets there. */

const key = randomBytes(32)
let workspace: Workspace

beforeAll(() => {
  workspace = begun()
})
afterAll(closeStates)

/** Refused in words for both kinds of readers, without the key, and with every byte as it was. */
function expectRefused(args: readonly string[], says: RegExp, secret: string): void {
  const before = treeFiles(workspace.path)
  const document = workspace.json(...args)
  const human = workspace.run(...args)
  expect(document).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
  expect(document.error?.message).toMatch(says)
  expect(human).toMatchObject({ exit: 2, stdout: '' })
  expect(JSON.stringify([document, human])).not.toContain(secret.slice(0, 12))
  expect(treeFiles(workspace.path)).toEqual(before)
}

test.each([
  ['key suspend', ['key', 'suspend', 'master@1', '--yes', '--reason']],
  ['key compromise', ['key', 'compromise', 'master@1', '--yes', '--reason']],
  ['a key without a backup', ['rotate', 'master', '--offline', '--yes', '--without-backup', '--reason']],
  ['a set that is not confirmed', ['backup', 'confirm', 'KVXDEM', '--accept-unconfirmed', '1', '--reason']],
  ['what is lost', ['retire', 'master@1', '--confirm', 'master@1', '--accept-loss', '1', '--reason']],
] as const)('a reason that holds a key is refused: %s', (_, args) => {
  for (const text of [key.toString('hex'), key.toString('base64')])
    expectRefused([...args, `it was ${text} until today`], /reason holds what looks like a 32-byte key/, text)
})

test('a custodian who is named like a key is refused', () => {
  const hex = key.toString('hex')
  const custodians = [hex, 'B'].flatMap((name, at) => ['--custodian', `old ${name}=${String(at).repeat(40)}`])
  const args = ['backup', 'split', 'master', '--threshold', '2', ...custodians]
  expectRefused(args, /custodian 1 looks like a 32-byte key/, hex)
})
