import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { needsTool } from '../support/needs.ts'
import { callWithFault, traceCall } from '../support/strace.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'

const bytes = { utf8: 'new' }

beforeEach((context) => needsTool(context, 'strace'))

/** What matters about durability: writes, fsyncs and changes of names; access is tested by its effect. */
function essential(steps: readonly string[]): string[] {
  return steps.filter((step) => /^(openat|write|fsync|rename|link|unlink|mkdir|ftruncate) /.test(step))
}

describe('the order of system calls', () => {
  test('createFile: exclusive temporary file, write, access, fsync, link, unlink, fsync of the directory', async () => {
    const key = join(trustedDirectory(), 'key')
    const { steps, result } = await traceCall(key, 'create-file.ts', 'createFile', [
      key,
      bytes,
      { mode: 0o640 },
    ])
    expect(result.error).toBeUndefined()
    expect(essential(steps)).toEqual([
      'openat new',
      'write new',
      'fsync new',
      'link new key',
      'unlink new',
      'fsync dir',
    ])
    expect(steps.findLastIndex((step) => step.startsWith('setxattr'))).toBeLessThan(
      steps.indexOf('fsync new'),
    )
  })

  test('replaceFile: temporary file, write, access of the old, fsync, rename, fsync of the directory', async () => {
    const key = join(trustedDirectory(), 'key')
    writeFileSync(key, 'old')
    const { steps } = await traceCall(key, 'replace-file.ts', 'replaceFile', [key, bytes])
    expect(essential(steps)).toEqual(['openat new', 'write new', 'fsync new', 'rename new key', 'fsync dir'])
    const lastAccess = steps.findLastIndex((step) => /^f?(setxattr|chown|chmod)/.test(step))
    expect(lastAccess).toBeGreaterThan(steps.indexOf('write new'))
    expect(lastAccess).toBeLessThan(steps.indexOf('fsync new'))
  })

  test('writeState: temporary file, write, fsync, rename, fsync of the directory', async () => {
    const key = join(trustedDirectory(), 'key')
    for (const round of ['creates', 'replaces']) {
      const { steps } = await traceCall(key, 'state-file.ts', 'writeState', [key, { utf8: round }])
      expect(essential(steps), round).toEqual([
        'openat new',
        'write new',
        'fsync new',
        'rename new key',
        'fsync dir',
      ])
      expect(readFileSync(key, 'utf8')).toBe(round)
    }
  })

  test('appendDurable: the name of a new file before its first byte, every append before it returns', async () => {
    const key = join(trustedDirectory(), 'key')
    const first = await traceCall(key, 'append-file.ts', 'appendDurable', [key, bytes])
    expect(essential(first.steps)).toEqual(['openat key', 'fsync dir', 'write key', 'fsync key'])
    const second = await traceCall(key, 'append-file.ts', 'appendDurable', [key, bytes])
    expect(essential(second.steps)).toEqual(['write key', 'fsync key'])
  })

  test('removeFile: unlink, fsync of the directory; the fsync also when the file is gone already', async () => {
    const key = join(trustedDirectory(), 'key')
    writeFileSync(key, 'old')
    const first = await traceCall(key, 'files.ts', 'removeFile', [key])
    expect(essential(first.steps)).toEqual(['unlink key', 'fsync dir'])
    const second = await traceCall(key, 'files.ts', 'removeFile', [key])
    expect(essential(second.steps)).toEqual(['fsync dir'])
  })

  test('makeDirectory: mkdir, fsync of the new directory and of its parent', async () => {
    const directory = join(trustedDirectory(), 'home')
    const { steps } = await traceCall(join(directory, 'x'), 'files.ts', 'makeDirectory', [directory, 0o700])
    expect(essential(steps)).toEqual(['mkdir dir', 'fsync dir', 'fsync parent'])
  })
})

type Write = {
  readonly title: string
  readonly module: string
  readonly name: string
  readonly args: unknown[]
}

const writers: readonly Write[] = [
  { title: 'createFile', module: 'create-file.ts', name: 'createFile', args: [bytes, { mode: 0o600 }] },
  { title: 'replaceFile', module: 'replace-file.ts', name: 'replaceFile', args: [bytes] },
  { title: 'writeState', module: 'state-file.ts', name: 'writeState', args: [bytes] },
]

/** The old state: nothing for a file that is created, else `old`. */
function prepare(writer: Write): { directory: string; key: string; temp: string } {
  const directory = join(trustedDirectory(), 'd')
  mkdirSync(directory, { mode: 0o700 })
  const key = join(directory, 'key')
  if (writer.name !== 'createFile') {
    writeFileSync(key, 'old')
    chmodSync(key, 0o600)
  }
  return { directory, key, temp: join(directory, '.key.kvx-new') }
}

function content(key: string): string | undefined {
  return existsSync(key) ? readFileSync(key, 'utf8') : undefined
}

describe.each(writers)('$title under faults', (writer) => {
  const old = writer.name === 'createFile' ? undefined : 'old'

  test.each([
    ['write:error=ENOSPC', 'DISK_FULL'],
    ['write:error=EDQUOT', 'DISK_FULL'],
    ['write:error=EFBIG', 'DISK_FULL'],
    ['write:error=EIO', 'IO_ERROR'],
    ['openat:error=EROFS', 'IO_ERROR'],
    ['openat:error=EMFILE', 'RESOURCE_LIMIT'],
    ['fsync:error=EIO:when=1', 'IO_ERROR'],
    ['fsync:error=ENOSPC:when=1', 'DISK_FULL'],
    ['fsync:error=EDQUOT:when=1', 'DISK_FULL'],
    ['close:error=EIO:when=1', 'IO_ERROR'],
  ])(
    '%s of the temporary file: %s, old state, nothing left behind, no second attempt',
    async (inject, code) => {
      const { directory, key, temp } = prepare(writer)
      const result = await callWithFault({ inject, paths: [temp] }, writer.module, writer.name, [
        key,
        ...writer.args,
      ])
      expect(result.log, 'the fault happened').toContain('INJECTED')
      expect(result.error?.code, result.stderr).toBe(code)
      expect(content(key)).toBe(old)
      expect(readdirSync(directory)).toEqual(old === undefined ? [] : ['key'])
      if (inject.startsWith('fsync')) expect(result.log.match(/fsync\(/g)).toHaveLength(1)
    },
  )

  test('a failed fsync of the directory after the change: durability unknown, exit 9, not tried again', async () => {
    const { directory, key } = prepare(writer)
    const fault = { inject: 'fsync:error=EIO:when=1', paths: [directory] }
    const result = await callWithFault(fault, writer.module, writer.name, [key, ...writer.args])
    expect(result.error?.code).toBe('DURABILITY_UNKNOWN')
    expect(result.error?.exit).toBe(9)
    expect(content(key)).toBe('new')
    expect(result.log.match(/fsync\(/g)).toHaveLength(1)
  })

  test.each(['write', 'fsync', 'rename', 'link', 'unlink'])(
    'killed at %s: the name holds the old or the new file, and the next call clears the leftover',
    async (call) => {
      for (let when = 1; ; when += 1) {
        const { directory, key, temp } = prepare(writer)
        const fault = { inject: `${call}:signal=KILL:when=${when}`, paths: [temp, key, directory] }
        const args = [key, ...writer.args]
        const killed = await callWithFault(fault, writer.module, writer.name, args)
        if (killed.error !== undefined) throw new Error(killed.error.all)
        expect([old, 'new']).toContain(content(key))
        if (killed.signal !== 'SIGKILL') {
          expect(killed.value).toBeDefined()
          return // past the last call of this kind
        }
        const again = await callWithFault(
          { inject: 'rmdir:error=EIO', paths: [temp] },
          writer.module,
          writer.name,
          args,
        )
        if (again.error !== undefined) expect(again.error.code).toBe('TARGET_EXISTS')
        expect(content(key)).toBe('new')
        if (again.error === undefined) expect(readdirSync(directory)).toEqual(['key'])
      }
    },
  )
})

describe('appendDurable under faults', () => {
  test.each([
    ['write:error=ENOSPC', 'DISK_FULL'],
    ['write:error=EIO', 'IO_ERROR'],
    ['fsync:error=EIO', 'IO_ERROR'],
  ])('%s: %s, the file keeps its length', async (inject, code) => {
    const key = join(trustedDirectory(), 'log')
    writeFileSync(key, 'one\n')
    const result = await callWithFault({ inject, paths: [key] }, 'append-file.ts', 'appendDurable', [
      key,
      bytes,
    ])
    expect(result.log).toContain('INJECTED')
    expect(result.error?.code).toBe(code)
    expect(readFileSync(key, 'utf8')).toBe('one\n')
    if (inject.startsWith('fsync')) expect(result.log.match(/fsync\(/g)).toHaveLength(1)
  })
})
