import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { localAccount } from '../../src/platform/local-accounts.ts'
import { needsRoot } from '../support/needs.ts'
import { callInProcess, inPlaceOf } from '../support/platform-process.ts'
import { run, trustedDirectory } from '../support/trusted-directory.ts'

test.each([
  ['passwd', 'root'],
  ['passwd', '0'],
  ['group', 'daemon'],
  ['group', '0'],
] as const)('%s %s is the same by the file and by getent', (database, key) => {
  const entry = run('getent', database, key).trimEnd().split(':')
  expect([entry, undefined]).toContainEqual(localAccount(database, key))
})

/** A machine with these files, on which getent knows nobody: it ends with 1, which no look-up does. */
function machine(files: Readonly<Record<string, string>>): string[] {
  const folder = trustedDirectory()
  const mounts = Object.entries(files).flatMap(([path, text], index) => {
    writeFileSync(join(folder, String(index)), text, { mode: 0o644 })
    return inPlaceOf(path, join(folder, String(index)))
  })
  return [...mounts, ...inPlaceOf('/usr/bin/getent', '/bin/false')]
}

const asked = 'TOOL_FAILED'

test.for([
  ['files come first', 'passwd: files sss\n', 'x:*:7:7::/:/bin/sh\n', 7],
  ['files alone', '# comment\npasswd:\tfiles\n', 'x:*:7:7::/:/bin/sh\n', 7],
  ['an account of the directory', 'passwd: files sss\n', 'y:*:7:7::/:/bin/sh\n', asked],
  ['the directory comes first', 'passwd: sss files\n', 'x:*:7:7::/:/bin/sh\n', asked],
  ['a rule follows the files', 'passwd: files [SUCCESS=continue] sss\n', 'x:*:7:7::/:/bin/sh\n', asked],
  ['nothing is said of the order', 'group: files\n', 'x:*:7:7::/:/bin/sh\n', asked],
  ['the old form with plus', 'passwd: files\n', 'x:*:7:7::/:/bin/sh\n+::::::\n', asked],
  ['a broken line', 'passwd: files\n', 'x:*:7:7\n', asked],
] as const)(
  'who is in the file is not looked up again: %s',
  async ([, order, accounts, expected], context) => {
    needsRoot(context)
    const wrapper = machine({ '/etc/nsswitch.conf': order, '/etc/passwd': accounts })
    const result = await callInProcess('accounts.ts', 'userId', ['x'], { wrapper })
    if (result.stderr.includes('unshare')) context.skip('mount namespaces are not allowed here')
    expect(result.error?.code ?? result.value, result.stderr).toBe(expected)
  },
)
