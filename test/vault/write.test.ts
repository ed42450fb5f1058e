import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readdirSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { KvxError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import { linkFile } from '../../src/platform/stream-file.ts'
import { useThreads } from '../../src/platform/threads.ts'
import { directoryMemory } from '../../src/vault/generations.ts'
import { createTestKeyProvider, providedKeys } from '../../src/vault/key-provider.ts'
import { type Vault, vaultPath } from '../../src/vault/vaults.ts'
import { type MoveHooks, reencryptVault, writeVault } from '../../src/vault/write-vault.ts'
import { needsRoot } from '../support/needs.ts'
import { mount, trustedDirectory } from '../support/trusted-directory.ts'
import { openReferenceVault } from './reference-decoder.ts'

const key = randomBytes(32)
const plaintext = Buffer.from(`{"big":"${'x'.repeat(3_500_000)}"}`)

const segmentCount = 4

function vaultIn(directory: string): Vault {
  const keys = providedKeys(createTestKeyProvider({ tk: key }))
  const memory = directoryMemory(directory, async () => ({ mode: 0o600 }))
  return { name: 'tk', directory, keys, memory, acceptGeneration: false }
}

async function* pieces(content = plaintext): AsyncGenerator<Buffer> {
  for (let at = 0; at < content.length; at += 400_000) yield Buffer.from(content.subarray(at, at + 400_000))
}

async function written(): Promise<{ vault: Vault; path: string; before: Buffer; temporary: string }> {
  const vault = vaultIn(trustedDirectory())
  await writeVault(vault, () => pieces())
  const path = vaultPath(vault)
  return { vault, path, before: readFileSync(path), temporary: join(vault.directory, '.tk.enc.kvx-new') }
}

async function failure(work: Promise<unknown>): Promise<KvxError> {
  return work.then(
    () => {
      throw new Error('nothing was refused')
    },
    (error: KvxError) => error,
  )
}

/** Lets everything pass and then does something, while the writer still waits for the end. */
async function* then(source: AsyncIterable<Uint8Array>, act: () => void): AsyncGenerator<Uint8Array> {
  yield* source
  act()
}

function overwrite(path: string, at: number): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, Buffer.of(0x55, 0xaa), 0, 2, at)
  closeSync(fd)
}

/** Writes, and does something when all segments were written and none was read back. */
type Move = (vault: Vault, act: () => void) => Promise<unknown>

const moves: readonly (readonly [string, Move])[] = [
  ['a write', async (vault, act) => writeVault(vault, (old) => then(old ?? pieces(), act))],
  [
    'a re-encryption',
    async (vault, act) => {
      let looks = 0
      const watch = (): void => {
        if (looks++ === segmentCount) act()
      }
      return reencryptVault(vault, { key: Secret.copy(randomBytes(32)), watch })
    },
  ],
]

describe.each(moves)('%s', (_name, move) => {
  it('reads the new file back and keeps the old one when the medium holds other bytes', async () => {
    const { vault, path, before, temporary } = await written()
    const error = await failure(move(vault, () => overwrite(temporary, 1_500_000)))
    expect(error).toMatchObject({ code: 'READ_BACK_FAILED', exit: 5 })
    expect(error.message).toContain('does not open with its key')
    expect(readFileSync(path).equals(before)).toBe(true)
    expect(readdirSync(vault.directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
    expect(await vault.memory.remembered('tk')).toBe(1n)
  })

  it('never replaces what another program put there meanwhile', async () => {
    const { vault, path, temporary } = await written()
    const error = await failure(
      move(vault, () => {
        writeFileSync(`${temporary}.other`, 'of another program')
        renameSync(`${temporary}.other`, path)
      }),
    )
    expect(error.code).toBe('LOCKED')
    expect(readFileSync(path, 'utf8')).toBe('of another program')
    expect(readdirSync(vault.directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
  })

  it('refuses an old file that is written in place while it is read', async () => {
    const { vault, path } = await written()
    expect(['LOCKED', 'IO_ERROR']).toContain((await failure(move(vault, () => overwrite(path, 40)))).code)
    expect(readdirSync(vault.directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
  })

  it('keeps the old file when the disk is full, and says so', async (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    mount(directory, '-t', 'tmpfs', '-o', 'size=6m,mode=0700', 'tmpfs')
    const vault = vaultIn(directory)
    await writeVault(vault, () => pieces())
    const before = readFileSync(vaultPath(vault))
    const error = await failure(move(vault, () => undefined))
    expect(error).toMatchObject({ code: 'DISK_FULL', exit: 9 })
    expect(readFileSync(vaultPath(vault)).equals(before)).toBe(true)
    expect(readdirSync(directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
  })
})

describe('a re-encryption', () => {
  it('has the old file under its second name before the name of the vault changes', async () => {
    const { vault, path, before } = await written()
    const next = randomBytes(32)
    const backup = join(trustedDirectory(), 'backup')
    let seen: Buffer | undefined
    await reencryptVault(vault, {
      key: Secret.copy(next),
      keepOld: async () => {
        expect(await linkFile(path, backup)).toBe(true)
        seen = readFileSync(path)
      },
    })
    expect(seen?.equals(before)).toBe(true)
    expect(readFileSync(backup).equals(before)).toBe(true)
    expect(openReferenceVault(readFileSync(path), next).plaintext.equals(plaintext)).toBe(true)
    expect(() => openReferenceVault(readFileSync(path), key)).toThrow()
  })

  it('changes nothing when the backup cannot be made', async () => {
    const { vault, path, before } = await written()
    const hooks: MoveHooks = {
      key: Secret.copy(randomBytes(32)),
      keepOld: async () => Promise.reject(new Error('no backup')),
    }
    await expect(reencryptVault(vault, hooks)).rejects.toThrow()
    expect(readFileSync(path).equals(before)).toBe(true)
    expect(readdirSync(vault.directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
  })

  describe('of a large vault, by threads', () => {
    beforeEach(() => useThreads(2))
    afterEach(() => useThreads(undefined))

    const large = randomBytes(40_000_000)

    async function largeVault(): Promise<{ vault: Vault; path: string; before: Buffer }> {
      const vault = vaultIn(trustedDirectory())
      await writeVault(vault, () => pieces(large))
      const path = vaultPath(vault)
      return { vault, path, before: readFileSync(path) }
    }

    it('holds the same content under the new key alone', async () => {
      const { vault, path } = await largeVault()
      const next = randomBytes(32)
      await reencryptVault(vault, { key: Secret.copy(next) })
      const after = readFileSync(path)
      expect(openReferenceVault(after, next).plaintext.equals(large)).toBe(true)
      expect(() => openReferenceVault(after, key)).toThrow()
    })

    it('stops when it is told to, and leaves the old one alone', async () => {
      const { vault, path, before } = await largeVault()
      const watch = (): void => {
        throw new KvxError('LOCKED', 'told to stop')
      }
      const hooks = { key: Secret.copy(randomBytes(32)), watch }
      await expect(reencryptVault(vault, hooks)).rejects.toThrow('told to stop')
      expect(readFileSync(path).equals(before)).toBe(true)
      expect(readdirSync(vault.directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
    })

    it('names the segment that does not open, and leaves the old one alone', async () => {
      const { vault, path } = await largeVault()
      overwrite(path, 30 * 1_048_576 + 100)
      const damaged = readFileSync(path)
      const error = await failure(reencryptVault(vault, { key: Secret.copy(randomBytes(32)) }))
      expect(error).toMatchObject({ code: 'DAMAGED' })
      expect(error.message).toContain('segment 31 of 39')
      expect(readFileSync(path).equals(damaged)).toBe(true)
      expect(readdirSync(vault.directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
    })
  })
})
