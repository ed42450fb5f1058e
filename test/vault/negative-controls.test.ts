import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Secret } from '../../src/core/secret.ts'
import type * as Streaming from '../../src/core/tink-streaming.ts'
import { readKeyring } from '../../src/keyring/keyring.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { vaultWorkload } from '../../src/migration/vault-workload.ts'
import { directoryMemory } from '../../src/vault/generations.ts'
import { createTestKeyProvider, providedKeys } from '../../src/vault/key-provider.ts'
import { type Vault, vaultPath } from '../../src/vault/vaults.ts'
import { reencryptVault, writeVault } from '../../src/vault/write-vault.ts'
import { VaultWorkspace } from '../commands/vault-workspace.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'

/**
 * Law 5: the old key and a random key must fail on what was rewritten. Right bytes under the right key pass every
 * other look, so the fault lies where only these controls see it: in the cipher, which takes another key than the
 * one that it is given.
 */
const fault = vi.hoisted(() => ({
  usedFor: undefined as ((key: Secret) => Secret) | undefined,
  sealsOther: false,
}))

vi.mock('../../src/core/tink-streaming.ts', async (original) => {
  const real = await original<typeof Streaming>()
  type Derive = typeof Streaming.SegmentCipher.derive
  const derive: Derive = (parameters, key, stream) => {
    const cipher = real.SegmentCipher.derive(parameters, fault.usedFor?.(key) ?? key, stream)
    if (!fault.sealsOther) return cipher
    const seal: typeof cipher.seal = (index, isLast, plaintext, into) => {
      const other = Buffer.from(plaintext)
      other[0] = (other[0] ?? 0) ^ 1
      return cipher.seal(index, isLast, other, into)
    }
    return new Proxy(cipher, {
      get: (target, name) => (name === 'seal' ? seal : (target[name as 'open'].bind(target) as unknown)),
    })
  }
  return { ...real, SegmentCipher: { derive } }
})

const old = Secret.copy(randomBytes(32))
const next = Secret.copy(randomBytes(32))

afterEach(() => {
  fault.usedFor = undefined
  fault.sealsOther = false
})

/** A vault that lies under the old key. */
async function sealedVault(): Promise<Vault> {
  const directory = trustedDirectory()
  const keys = providedKeys(createTestKeyProvider({ tk: old.lend((bytes) => Buffer.from(bytes)) }))
  const memory = directoryMemory(directory, async () => ({ mode: 0o600 }))
  const vault = { name: 'tk', directory, keys, memory, acceptGeneration: false }
  await writeVault(vault, content)
  return vault
}

async function* content(): AsyncGenerator<Buffer> {
  yield Buffer.from('{"a":"b"}')
}

async function reencrypt(vault: Vault): Promise<unknown> {
  return reencryptVault(vault, { key: next })
}

const refused = {
  code: 'READ_BACK_FAILED',
  exit: 5,
  message: expect.stringContaining('opens with a key that it was not sealed with') as string,
}

describe('a rewritten vault', () => {
  test('is taken when no other key opens it', async () => {
    const vault = await sealedVault()
    const before = readFileSync(vaultPath(vault))
    expect(await reencrypt(vault)).toEqual({ generation: 2n })
    expect(readFileSync(vaultPath(vault))).not.toEqual(before)
  })

  test('is refused when the old key still opens it', async () => {
    const vault = await sealedVault()
    const before = readFileSync(vaultPath(vault))
    fault.usedFor = (key) => (key.equals(next) ? old : key)
    await expect(reencrypt(vault)).rejects.toMatchObject(refused)
    expect(readFileSync(vaultPath(vault))).toEqual(before)
  })

  test('is refused when any key opens it, also in a write under the same key', async () => {
    const vault = await sealedVault()
    const before = readFileSync(vaultPath(vault))
    // Keys that have a name are told apart; only one that nobody knows shows that the cipher takes anything.
    fault.usedFor = (key) => (key.equals(old) || key.equals(next) ? key : next)
    await expect(reencrypt(vault)).rejects.toMatchObject(refused)
    fault.usedFor = (key) => (key.equals(old) ? key : old)
    await expect(writeVault(vault, content)).rejects.toMatchObject(refused)
    expect(readFileSync(vaultPath(vault))).toEqual(before)
  })
})

test('a rewritten vault is refused when it opens and holds something else', async () => {
  const vault = await sealedVault()
  const before = readFileSync(vaultPath(vault))
  fault.sealsOther = true
  await expect(reencrypt(vault)).rejects.toMatchObject({
    code: 'READ_BACK_FAILED',
    message: expect.stringContaining('does not hold what was written') as string,
  })
  expect(readFileSync(vaultPath(vault))).toEqual(before)
})

test('a vault that a random key opens stops the plan', async () => {
  const made = VaultWorkspace.make('x')
  const workspace = await openWorkspace({ config: made.file('kvx.yaml') })
  const ring = await readKeyring(workspace.home)
  const events = { progress: () => undefined }
  const census = async (): Promise<unknown> =>
    vaultWorkload(workspace, ring, 'tk').census({ phase: 'plan', events })
  await expect(census()).resolves.toMatchObject({ records: 1, unreadable: 0 })
  const right = Secret.copy(readFileSync(made.file('keys/tk.key')))
  fault.usedFor = () => right
  await expect(census()).rejects.toMatchObject({ code: 'LAYOUT_NOT_PROVEN' })
})
