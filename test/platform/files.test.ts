import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  exists,
  listDirectory,
  lstatFacts,
  makeDirectory,
  readFileCapped,
  removeFile,
} from '../../src/platform/files.ts'
import { needsRoot, needsTool } from '../support/needs.ts'
import { callInProcess } from '../support/platform-process.ts'
import { run, trustedDirectory } from '../support/trusted-directory.ts'

const cap = { maxBytes: 1000 }

describe('readFileCapped', () => {
  test('gives the bytes, outside the pool of Node, and the facts of a regular file', async () => {
    const path = join(trustedDirectory(), 'file')
    writeFileSync(path, 'content')
    chmodSync(path, 0o640)
    const { bytes, facts } = await readFileCapped(path, cap)
    expect(bytes.toString()).toBe('content')
    expect(bytes.buffer.byteLength).toBe(8)
    expect(facts).toMatchObject({ type: 'file', size: 7, mode: 0o640, nlink: 1, uid: process.geteuid?.() })
  })

  test('reads a file of exactly the cap and an empty one', async () => {
    const path = join(trustedDirectory(), 'file')
    writeFileSync(path, Buffer.alloc(1000, 7))
    expect((await readFileCapped(path, cap)).bytes).toHaveLength(1000)
    writeFileSync(path, '')
    expect((await readFileCapped(path, cap)).bytes).toHaveLength(0)
  })

  test('refuses a file over the cap and names the size', async () => {
    const path = join(trustedDirectory(), 'file')
    writeFileSync(path, Buffer.alloc(1001))
    await expect(readFileCapped(path, cap)).rejects.toMatchObject({
      code: 'UNSAFE_FILE_TYPE',
      message: expect.stringContaining('1001 bytes') as string,
    })
  })

  test('refuses a sparse file of a terabyte at once', async () => {
    const path = join(trustedDirectory(), 'file')
    writeFileSync(path, '')
    truncateSync(path, 2 ** 40)
    await expect(readFileCapped(path, cap)).rejects.toMatchObject({ code: 'UNSAFE_FILE_TYPE' })
  })

  test.each(['FIFO', 'directory', 'socket', 'device', 'endless device'])(
    'refuses a %s within a second',
    async (kind) => {
      const directory = trustedDirectory()
      const path = { device: '/dev/tty0', 'endless device': '/dev/zero' }[kind] ?? join(directory, 'special')
      if (kind === 'FIFO') run('mkfifo', path)
      if (kind === 'directory') mkdirSync(path)
      if (kind === 'socket') {
        const server = createServer()
        await new Promise<void>((done) => server.listen(path, done))
        onTestFinished(() => void server.close())
      }
      const start = performance.now()
      const expected = kind === 'device' ? /UNSAFE_FILE_TYPE|FILE_NOT_FOUND|IO_ERROR/ : /UNSAFE_FILE_TYPE/
      const code = expect.stringMatching(expected) as string
      await expect(readFileCapped(path, cap)).rejects.toMatchObject({ code })
      expect(performance.now() - start).toBeLessThan(1000)
    },
  )

  test('refuses a symbolic link unless it is told to follow', async () => {
    const directory = trustedDirectory()
    const [file, link] = [join(directory, 'file'), join(directory, 'link')]
    writeFileSync(file, 'content')
    symlinkSync(file, link)
    await expect(readFileCapped(link, cap)).rejects.toMatchObject({
      code: 'UNSAFE_FILE_TYPE',
      message: expect.stringContaining('symbolic link') as string,
    })
    expect((await readFileCapped(link, { ...cap, follow: true })).bytes.toString()).toBe('content')
  })

  test('a missing file, a dangling link that is followed and a file as a directory are not found', async () => {
    const directory = trustedDirectory()
    const link = join(directory, 'link')
    symlinkSync(join(directory, 'nothing'), link)
    writeFileSync(join(directory, 'file'), '')
    const notFound = { code: 'FILE_NOT_FOUND', exit: 2 }
    await expect(readFileCapped(join(directory, 'nothing'), cap)).rejects.toMatchObject(notFound)
    await expect(readFileCapped(link, { ...cap, follow: true })).rejects.toMatchObject(notFound)
    await expect(readFileCapped(join(directory, 'file', 'x'), cap)).rejects.toMatchObject(notFound)
  })

  test('refuses a file whose content is longer than its size says', async () => {
    await expect(readFileCapped('/proc/self/status', { maxBytes: 100_000 })).rejects.toMatchObject({
      code: 'IO_ERROR',
      message: expect.stringContaining('changed while it was read') as string,
    })
  })

  test('a NUL byte in a path is an error of usage, and control characters are escaped', async () => {
    await expect(readFileCapped('/tmp/a\0b', cap)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('/tmp/a\\u{0}b') as string,
    })
    await expect(readFileCapped('/nowhere/\u001b[31m', cap)).rejects.toMatchObject({
      message: expect.stringContaining('\\u{1b}[31m') as string,
    })
  })

  test('no descriptor left is a resource limit', async (context) => {
    needsTool(context, 'strace')
    const path = join(trustedDirectory(), 'file')
    writeFileSync(path, 'x')
    const wrapper = ['strace', '-f', '-o', '/dev/null', '-P', path, '-e', 'inject=openat:error=EMFILE']
    const result = await callInProcess('files.ts', 'readFileCapped', [path, cap], { wrapper })
    expect(result.error).toMatchObject({ code: 'RESOURCE_LIMIT', exit: 9 })
  })
})

describe('directories', () => {
  test('a listing is sorted and complete', async () => {
    const directory = trustedDirectory()
    for (const name of ['b', 'ä', 'a', 'B', '.hidden']) writeFileSync(join(directory, name), '')
    expect(await listDirectory(directory)).toEqual(['.hidden', 'B', 'a', 'b', 'ä'])
  })

  test('a name that is not UTF-8 is refused and shown escaped, not passed over', async () => {
    const directory = trustedDirectory()
    writeFileSync(Buffer.concat([Buffer.from(`${directory}/bad`), Buffer.from([0xff])]), '')
    await expect(listDirectory(directory)).rejects.toMatchObject({
      code: 'UNSAFE_FILE_TYPE',
      message: expect.stringContaining('bad\\xff') as string,
    })
  })

  test('a new directory has exactly the mode, whatever the umask; an existing one stays', async () => {
    const path = join(trustedDirectory(), 'home')
    expect(await makeDirectory(path, 0o755)).toBe(true)
    expect(statSync(path).mode & 0o7777).toBe(0o755)
    expect(await makeDirectory(path, 0o700)).toBe(false)
    expect(statSync(path).mode & 0o7777).toBe(0o755)
  })

  test('a new directory lets nobody in whom a default ACL of the parent names', async (context) => {
    needsTool(context, 'setfacl')
    const parent = trustedDirectory()
    run('setfacl', '-d', '-m', 'u:4242:rwx,g:4243:rx', parent)
    for (const mode of [0o700, 0o750]) {
      const path = join(parent, mode.toString(8))
      await makeDirectory(path, mode)
      const acl = run('getfacl', '-cpn', path)
      for (const line of acl.split('\n').filter((text) => /^(user|group):\d+:/.test(text))) {
        expect(line).toContain('#effective:---')
      }
      expect(statSync(path).mode & 0o7777).toBe(mode)
    }
  })

  test('a missing parent and a file with the name are told apart', async () => {
    const directory = trustedDirectory()
    writeFileSync(join(directory, 'file'), '')
    await expect(makeDirectory(join(directory, 'a', 'b'), 0o700)).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
    })
    await expect(makeDirectory(join(directory, 'file'), 0o700)).rejects.toMatchObject({
      code: 'TARGET_EXISTS',
    })
  })
})

describe('names', () => {
  test('a dangling link exists, a missing file has no facts', async () => {
    const directory = trustedDirectory()
    symlinkSync('nothing', join(directory, 'link'))
    expect(await exists(join(directory, 'link'))).toBe(true)
    expect((await lstatFacts(join(directory, 'link')))?.type).toBe('symlink')
    expect(await exists(join(directory, 'nothing'))).toBe(false)
    expect(await lstatFacts(join(directory, 'nothing', 'deep'))).toBeUndefined()
  })

  test('removing takes the name only, and a missing file is fine', async () => {
    const directory = trustedDirectory()
    writeFileSync(join(directory, 'file'), 'content')
    symlinkSync('file', join(directory, 'link'))
    await removeFile(join(directory, 'link'))
    await removeFile(join(directory, 'link'))
    await removeFile(join(directory, 'no', 'such', 'directory'))
    expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('content')
    await removeFile(join(directory, 'file'))
    expect(existsSync(join(directory, 'file'))).toBe(false)
  })

  test('removing an immutable file says so and names the command', async (context) => {
    needsRoot(context)
    const path = join(trustedDirectory(), 'file')
    writeFileSync(path, 'content')
    try {
      run('chattr', '+i', path)
    } catch {
      context.skip('this file system has no immutable files')
    }
    onTestFinished(() => void run('chattr', '-i', path))
    await expect(removeFile(path)).rejects.toMatchObject({
      code: 'IO_ERROR',
      hint: expect.stringContaining(`\`chattr -i ${path}\``) as string,
    })
  })
})
