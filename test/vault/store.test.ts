import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { createKeyProvider, createStore, createTestKeyProvider, type KeyProvider } from '../../src/index.ts'
import * as library from '../../src/index.ts'
import type { KvxError } from '../../src/core/errors.ts'
import { openReferenceVault } from './reference-decoder.ts'
import { vaultPlace, writeKey } from './vault-tools.ts'

const run = promisify(execFile)
const entry = join(import.meta.dirname, '../../src/index.ts')

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  return work().then(
    () => 'no error',
    (error: KvxError) => error.code,
  )
}

describe('the library', () => {
  it('exports three functions and nothing else', () => {
    expect(Object.keys(library).sort()).toEqual(['createKeyProvider', 'createStore', 'createTestKeyProvider'])
  })

  it('does what the plan of KVCrypt writes: a test provider, put and get', async () => {
    const { storageDir } = vaultPlace()
    const testKey = randomBytes(32)
    const store = createStore({ storageDir, keyProvider: createTestKeyProvider({ tk: testKey }) })
    await store.put('tk', { key: 'value' })
    expect(await store.get('tk', 'key')).toBe('value')
    expect(testKey.every((byte) => byte === 0)).toBe(false)
    expect(openReferenceVault(readFileSync(join(storageDir, 'tk.enc')), testKey).plaintext.toString()).toBe(
      '{"key":"value"}',
    )
  })

  it('merges, replaces, removes and lists', async () => {
    const { storageDir } = vaultPlace()
    const keyProvider = createTestKeyProvider({ tk: randomBytes(32), ma: randomBytes(32) })
    const store = createStore({ storageDir, keyProvider })
    expect(await store.get('tk')).toBeUndefined()
    expect(await store.get('tk', 'a')).toBeUndefined()
    expect(await store.delete('tk')).toBe(false)
    await store.put('tk', { a: 1, b: { c: [null, true, 'é'] } })
    await store.put('tk', { a: 'new', __proto__x: 2 })
    await store.put('ma', {})
    expect(await store.get('tk')).toEqual({ a: 'new', b: { c: [null, true, 'é'] }, __proto__x: 2 })
    expect(await store.get('tk', 'b')).toEqual({ c: [null, true, 'é'] })
    expect(await store.get('tk', 'none')).toBeUndefined()
    expect(await store.delete('tk', 'b')).toBe(true)
    expect(await store.delete('tk', 'b')).toBe(false)
    expect(await store.get('tk')).toEqual({ a: 'new', __proto__x: 2 })
    expect((await store.list()).map(({ name, generation }) => [name, generation])).toEqual([
      ['ma', 1n],
      ['tk', 3n],
    ])
    expect(await store.delete('tk')).toBe(true)
    expect(await store.get('tk')).toBeUndefined()
  })

  it('refuses what is no object, and names that would leave the directory', async () => {
    const { storageDir } = vaultPlace()
    const store = createStore({ storageDir, keyProvider: createTestKeyProvider({ tk: randomBytes(32) }) })
    expect(await codeOf(async () => store.put('tk', [1] as never))).toBe('USAGE')
    expect(await codeOf(async () => store.put('tk', undefined as never))).toBe('USAGE')
    for (const name of ['../tk', '', '.tk', 'a/b', 'tk\n', 'x'.repeat(65)]) {
      expect(await codeOf(async () => store.put(name, {})), name).toBe('USAGE')
      expect(await codeOf(async () => store.get(name)), name).toBe('USAGE')
    }
    expect(await codeOf(async () => store.put('other', {}))).toBe('KEY_UNKNOWN')
  })

  it('takes keys of 32 bytes only and leaves a provider’s buffer as it is', async () => {
    const { storageDir } = vaultPlace()
    const short = createStore({ storageDir, keyProvider: createTestKeyProvider({ tk: randomBytes(16) }) })
    expect(await codeOf(async () => short.put('tk', {}))).toBe('KEY_MALFORMED')
    const key = randomBytes(32)
    const copy = Buffer.from(key)
    const own: KeyProvider = { getKey: async () => key }
    const store = createStore({ storageDir, keyProvider: own })
    await store.put('tk', { a: 1 })
    await store.put('tk', { b: 2 })
    expect(key.equals(copy)).toBe(true)
    expect(await store.get('tk')).toEqual({ a: 1, b: 2 })
  })

  it('loses nothing when twelve processes put at the same moment', async () => {
    const { keyDir, storageDir } = vaultPlace()
    const script = `
      import { createKeyProvider, createStore } from ${JSON.stringify(entry)}
      const [n, keyDir, storageDir] = process.argv.slice(-3)
      const store = createStore({ storageDir, keyProvider: createKeyProvider({ keyDir }) })
      await store.put('tk', { ['k' + n]: Number(n) })
      await store.put('tk', { shared: Number(n) })`
    const writers = Array.from({ length: 12 }, (_, n) =>
      run(process.execPath, ['--input-type=module', '-e', script, String(n), keyDir, storageDir]),
    )
    await Promise.all(writers)
    const store = createStore({ storageDir, keyProvider: createKeyProvider({ keyDir }) })
    const all = (await store.get('tk')) as Record<string, number>
    for (let n = 0; n < 12; n++) expect(all[`k${n}`]).toBe(n)
    expect(Object.keys(all)).toHaveLength(13)
    expect((await store.list())[0]?.generation).toBe(24n)
  })

  it('refuses to write where others can put files in place, and goes on reading', async () => {
    const { keyDir, storageDir } = vaultPlace()
    const store = createStore({ storageDir, keyProvider: createKeyProvider({ keyDir }) })
    await store.put('tk', { a: 1 })
    chmodSync(storageDir, 0o777)
    expect(await codeOf(async () => store.put('tk', { b: 1 }))).toBe('UNSAFE_DIRECTORY')
    expect(await codeOf(async () => store.delete('tk'))).toBe('UNSAFE_DIRECTORY')
    expect(await store.get('tk', 'a')).toBe(1)
  })

  it('does not follow a link in place of a vault', async () => {
    const place = vaultPlace()
    const { keyDir, storageDir } = place
    const store = createStore({ storageDir, keyProvider: createKeyProvider({ keyDir }) })
    await store.put('tk', { a: 1 })
    mkdirSync(join(storageDir, 'elsewhere'))
    renameSync(place.file('tk'), join(storageDir, 'elsewhere/tk.enc'))
    symlinkSync('elsewhere/tk.enc', place.file('tk'))
    expect(await codeOf(async () => store.get('tk'))).toBe('UNSAFE_FILE_TYPE')
    expect(await codeOf(async () => store.put('tk', {}))).toBe('UNSAFE_FILE_TYPE')
  })
})

describe('the key provider', () => {
  it('seals with NAME.key and opens with NAME.key.previous too, before and after an activation', async () => {
    const place = vaultPlace()
    const { keyDir, storageDir } = place
    const keyProvider = createKeyProvider({ keyDir })
    const store = createStore({ storageDir, keyProvider })
    const [v1, v2] = [place.key('tk'), randomBytes(32)]
    await store.put('tk', { a: 1 })
    // staged: what another program sealed under the successor already opens
    writeKey(join(keyDir, 'tk.key.previous'), v2)
    const ahead = createStore({
      storageDir,
      keyProvider: { getKey: async () => v2, getOpeningKeys: async () => [v1, v2] },
    })
    await ahead.put('tk', { b: 2 })
    expect(await store.get('tk')).toEqual({ a: 1, b: 2 })
    // activated: the old one opens, the new one seals
    await store.put('tk', { c: 3 })
    expect(openReferenceVault(readFileSync(place.file('tk')), v1).name).toBe('tk')
    writeKey(join(keyDir, 'tk.key'), v2)
    writeKey(join(keyDir, 'tk.key.previous'), v1)
    expect(await store.get('tk', 'c')).toBe(3)
    await store.put('tk', { d: 4 })
    expect(openReferenceVault(readFileSync(place.file('tk')), v2).generation).toBe(4n)
    // retired
    rmSync(join(keyDir, 'tk.key.previous'))
    expect(await store.get('tk', 'd')).toBe(4)
  })

  it('waits for keys that arrive a moment after the vault', async () => {
    const place = vaultPlace()
    const { keyDir, storageDir } = place
    const v2 = randomBytes(32)
    await createStore({ storageDir, keyProvider: createTestKeyProvider({ tk: v2 }) }).put('tk', { a: 1 })
    const store = createStore({ storageDir, keyProvider: createKeyProvider({ keyDir }) })
    const read = store.get('tk', 'a')
    setTimeout(() => writeKey(join(keyDir, 'tk.key'), v2), 70)
    expect(await read).toBe(1)
  })

  it('reads other encodings where that is said', async () => {
    const place = vaultPlace()
    const { keyDir, storageDir } = place
    writeFileSync(join(keyDir, 'tk.key'), `${place.key('tk').toString('base64')}\n`)
    expect(
      await codeOf(async () =>
        createStore({ storageDir, keyProvider: createKeyProvider({ keyDir }) }).put('tk', {}),
      ),
    ).toBe('KEY_MALFORMED')
    const keyProvider = createKeyProvider({ keyDir, encoding: 'base64' })
    await createStore({ storageDir, keyProvider }).put('tk', { a: 1 })
    expect(await createStore({ storageDir, keyProvider }).get('tk', 'a')).toBe(1)
  })

  it('seals nothing under a key that everybody can read, or that no random source made, and still opens', async () => {
    const place = vaultPlace()
    const { keyDir, storageDir } = place
    const store = createStore({ storageDir, keyProvider: createKeyProvider({ keyDir }) })
    await store.put('tk', { a: 1 })
    chmodSync(join(keyDir, 'tk.key'), 0o644)
    expect(await codeOf(async () => store.put('tk', { b: 1 }))).toBe('UNSAFE_MODE')
    expect(await store.get('tk', 'a')).toBe(1)
    chmodSync(join(keyDir, 'tk.key'), 0o660)
    expect(await codeOf(async () => store.put('tk', { b: 1 }))).toBe('UNSAFE_MODE')
    rmSync(place.file('tk'))
    writeKey(join(keyDir, 'tk.key'), Buffer.alloc(32))
    chmodSync(join(keyDir, 'tk.key'), 0o640)
    expect(await codeOf(async () => store.put('tk', { b: 1 }))).toBe('KEY_WEAK')
  })

  it('says which key file is missing', async () => {
    const { keyDir, storageDir } = vaultPlace([])
    const store = createStore({ storageDir, keyProvider: createKeyProvider({ keyDir }) })
    expect(await codeOf(async () => store.put('tk', {}))).toBe('FILE_NOT_FOUND')
  })
})
