import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readdirSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { KvxError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import { linkFile } from '../../src/platform/stream-file.ts'
import { directoryMemory } from '../../src/vault/generations.ts'
import { createTestKeyProvider, providedKeys } from '../../src/vault/key-provider.ts'
import { type Vault, vaultPath } from '../../src/vault/vaults.ts'
import { writeVault, type WriteHooks } from '../../src/vault/write-vault.ts'
import { needsRoot } from '../support/needs.ts'
import { mount, trustedDirectory } from '../support/trusted-directory.ts'
import { openReferenceVault } from './reference-decoder.ts'

const key = randomBytes(32)
const plaintext = Buffer.from(`{"big":"${'x'.repeat(3_500_000)}"}`)

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

const moves: readonly (readonly [string, WriteHooks])[] = [
  ['a write', {}],
  ['a re-encryption', { key: Secret.copy(randomBytes(32)), unchanged: true }],
]

describe.each(moves)('%s', (_name, hooks) => {
  it('reads the new file back and keeps the old one when the medium holds other bytes', async () => {
    const { vault, path, before, temporary } = await written()
    const content = (old: AsyncIterable<Buffer> | undefined) =>
      then(old ?? pieces(), () => overwrite(temporary, 1_500_000))
    const error = await failure(writeVault(vault, content, hooks))
    expect(error).toMatchObject({ code: 'READ_BACK_FAILED', exit: 5 })
    expect(error.message).toContain('does not open with its key')
    expect(readFileSync(path).equals(before)).toBe(true)
    expect(readdirSync(vault.directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
    expect(await vault.memory.remembered('tk')).toBe(1n)
  })

  it('never replaces what another program put there meanwhile', async () => {
    const { vault, path, temporary } = await written()
    const content = (old: AsyncIterable<Buffer> | undefined) =>
      then(old ?? pieces(), () => {
        writeFileSync(`${temporary}.other`, 'of another program')
        renameSync(`${temporary}.other`, path)
      })
    expect((await failure(writeVault(vault, content, hooks))).code).toBe('LOCKED')
    expect(readFileSync(path, 'utf8')).toBe('of another program')
    expect(readdirSync(vault.directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
  })

  it('refuses an old file that is written in place while it is read', async () => {
    const { vault, path } = await written()
    const content = (old: AsyncIterable<Buffer> | undefined) =>
      then(old ?? pieces(), () => overwrite(path, 40))
    expect(['LOCKED', 'IO_ERROR']).toContain((await failure(writeVault(vault, content, hooks))).code)
    expect(readdirSync(vault.directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
  })

  it('keeps the old file when the disk is full, and says so', async (context) => {
    needsRoot(context)
    const directory = trustedDirectory()
    mount(directory, '-t', 'tmpfs', '-o', 'size=6m,mode=0700', 'tmpfs')
    const vault = vaultIn(directory)
    await writeVault(vault, () => pieces())
    const before = readFileSync(vaultPath(vault))
    const error = await failure(writeVault(vault, (old) => old ?? pieces(), hooks))
    expect(error).toMatchObject({ code: 'DISK_FULL', exit: 9 })
    expect(readFileSync(vaultPath(vault)).equals(before)).toBe(true)
    expect(readdirSync(directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
  })
})

describe('a re-encryption', () => {
  it('refuses content that is not the old one, byte for byte, whatever made it', async () => {
    const { vault, path, before } = await written()
    async function* changed(old: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      let isFirst = true
      for await (const piece of old) {
        const copy = Buffer.from(piece)
        if (isFirst) copy[100] = 0x79
        isFirst = false
        yield copy
      }
    }
    async function* cut(old: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const piece of old) yield piece.length > 1_000_000 ? piece : piece.subarray(0, -1)
    }
    for (const wrong of [changed, cut]) {
      const hooks = { key: Secret.copy(randomBytes(32)), unchanged: true }
      const error = await failure(writeVault(vault, (old) => wrong(old ?? pieces()), hooks))
      expect(error).toMatchObject({ code: 'READ_BACK_FAILED' })
      expect(error.message).toContain('does not hold what was written')
      expect(readFileSync(path).equals(before)).toBe(true)
    }
  })

  it('has the old file under its second name before the name of the vault changes', async () => {
    const { vault, path, before } = await written()
    const next = randomBytes(32)
    const backup = join(trustedDirectory(), 'backup')
    let seen: Buffer | undefined
    await writeVault(vault, (old) => old ?? pieces(), {
      key: Secret.copy(next),
      unchanged: true,
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
    const hooks: WriteHooks = {
      key: Secret.copy(randomBytes(32)),
      unchanged: true,
      keepOld: async () => Promise.reject(new Error('no backup')),
    }
    await expect(writeVault(vault, (old) => old ?? pieces(), hooks)).rejects.toThrow()
    expect(readFileSync(path).equals(before)).toBe(true)
    expect(readdirSync(vault.directory).sort()).toEqual(['.tk.generation', 'tk.enc'])
  })
})
