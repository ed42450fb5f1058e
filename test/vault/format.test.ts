import { randomBytes } from 'node:crypto'
import { copyFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createKeyProvider, createStore } from '../../src/index.ts'
import type { Store } from '../../src/index.ts'
import type { KvxError } from '../../src/core/errors.ts'
import { openReferenceVault } from './reference-decoder.ts'
import { snapshot, vaultPlace, writeKey, type VaultPlace } from './vault-tools.ts'

const segment = 1_048_576
/** Header of the file for a name of two letters. */
const head = 30

function storeIn(place: VaultPlace): Store {
  return createStore({
    storageDir: place.storageDir,
    keyProvider: createKeyProvider({ keyDir: place.keyDir }),
  })
}

async function refusal(work: Promise<unknown>): Promise<KvxError> {
  return work.then(
    () => {
      throw new Error('nothing was refused')
    },
    (error: KvxError) => error,
  )
}

let sealed: { readonly file: Buffer; readonly key: Buffer; readonly value: string } | undefined

/** A vault of three segments; it is sealed once and copied for each test. */
async function largeVault(): Promise<{ place: VaultPlace; store: Store; value: string }> {
  const place = vaultPlace(['tk', 'ma'])
  const store = storeIn(place)
  if (sealed === undefined) {
    const value = randomBytes(1_200_000).toString('hex')
    await store.put('tk', { big: value })
    sealed = { file: readFileSync(place.file('tk')), key: place.key('tk'), value }
    return { place, store, value }
  }
  writeKey(`${place.keyDir}/tk.key`, sealed.key)
  writeFileSync(place.file('tk'), sealed.file)
  writeFileSync(`${place.storageDir}/.tk.generation`, '1\n')
  return { place, store, value: sealed.value }
}

describe('a vault file', () => {
  it('opens with a second implementation of the format, at sizes around every border of a segment', async () => {
    const place = vaultPlace()
    const store = storeIn(place)
    const frame = '{"a":""}'.length
    const sizes = [0, 1, segment - 40 - 16, segment - 40 - 15, 2 * segment - 40 - 32, 2 * segment - 40 - 31]
    let generation = 0n
    for (const size of sizes) {
      const value = 'x'.repeat(Math.max(0, size - frame))
      await store.put('tk', { a: value })
      const opened = openReferenceVault(readFileSync(place.file('tk')), place.key('tk'))
      expect(opened).toMatchObject({ name: 'tk', generation: ++generation })
      expect(opened.plaintext.toString()).toBe(JSON.stringify({ a: value }))
      expect(await store.get('tk', 'a')).toBe(value)
    }
  })

  it('round-trips an empty object', async () => {
    const place = vaultPlace()
    await storeIn(place).put('tk', {})
    expect(openReferenceVault(readFileSync(place.file('tk')), place.key('tk')).plaintext.toString()).toBe(
      '{}',
    )
    expect(await storeIn(place).get('tk')).toEqual({})
  })

  it('never repeats a salt: the same content twice is other bytes', async () => {
    const place = vaultPlace()
    const store = storeIn(place)
    await store.put('tk', { a: 1 })
    const first = readFileSync(place.file('tk'))
    await store.put('tk', { a: 1 })
    const second = readFileSync(place.file('tk'))
    expect(first.subarray(head, head + 40).equals(second.subarray(head, head + 40))).toBe(false)
    expect(first.subarray(head + 40).equals(second.subarray(head + 40))).toBe(false)
  })
})

type Damage = readonly [what: string, change: (bytes: Buffer) => Buffer, code: string, message: RegExp]

const flip =
  (at: number) =>
  (bytes: Buffer): Buffer => {
    const place = at < 0 ? bytes.length + at : at
    bytes[place] = (bytes[place] ?? 0) ^ 1
    return bytes
  }
const set =
  (at: number, value: number) =>
  (bytes: Buffer): Buffer => {
    bytes[at] = value
    return bytes
  }

const damages: readonly Damage[] = [
  ['an empty file', () => Buffer.alloc(0), 'DAMAGED', /it is empty/],
  [
    'another program’s file',
    () => Buffer.from('{"plain":"text"}'),
    'DAMAGED',
    /does not begin with KVXVAULT/,
  ],
  ['a file cut off in its header', (bytes) => bytes.subarray(0, 20), 'DAMAGED', /cut off in its header/],
  ['version 0', set(8, 0), 'DAMAGED', /it has version 0; this kvx knows version 1/],
  ['version 2', set(8, 2), 'DAMAGED', /it has version 2; this kvx knows version 1/],
  ['suite 0', set(9, 0), 'DAMAGED', /it has suite 0/],
  ['suite 2', set(9, 2), 'DAMAGED', /it has suite 2/],
  ['a changed fingerprint', flip(10), 'WRONG_KEY', /no key at hand is that one/],
  ['a raised generation', flip(18), 'DAMAGED', /its header or segment 1 of 3 was changed/],
  ['a name length beyond the file', set(26, 0xff), 'DAMAGED', /its name has 65282 bytes/],
  ['a longer name', set(27, 3), 'DAMAGED', /name/],
  ['another name', flip(28), 'DAMAGED', /it is the vault uk, not tk/],
  ['a name with a slash', set(28, 0x2f), 'DAMAGED', /not one that a vault can have/],
  ['another length byte of the body', set(head, 24), 'DAMAGED', /says that it has 24 bytes, not 40/],
  ['a flipped bit in the salt', flip(head + 1), 'DAMAGED', /segment 1 of 3/],
  ['a flipped bit in the nonce prefix', flip(head + 33), 'DAMAGED', /segment 1 of 3/],
  ['a flipped bit in segment 1', flip(head + 100), 'DAMAGED', /segment 1 of 3/],
  ['a flipped bit in segment 2', flip(head + segment + 5), 'DAMAGED', /segment 2 of 3/],
  ['a flipped bit in the tag of segment 2', flip(head + 2 * segment - 1), 'DAMAGED', /segment 2 of 3/],
  ['a flipped bit in the last tag', flip(-1), 'DAMAGED', /segment 3 of 3/],
  ['a cut in the last segment', (bytes) => bytes.subarray(0, -1), 'DAMAGED', /segment 3 of 3/],
  [
    'a cut at the end of segment 2',
    (bytes) => bytes.subarray(0, head + 2 * segment),
    'DAMAGED',
    /segment 2 of 2/,
  ],
  [
    'a cut within segment 2',
    (bytes) => bytes.subarray(0, head + 2 * segment - 9),
    'DAMAGED',
    /segment 2 of 2/,
  ],
  [
    'only a tag in the last segment',
    (bytes) => bytes.subarray(0, head + 2 * segment + 16),
    'DAMAGED',
    /cut off or extended/,
  ],
  ['nothing behind the header', (bytes) => bytes.subarray(0, head), 'DAMAGED', /needs 40 bytes and has 0/],
  ['one byte more', (bytes) => Buffer.concat([bytes, Buffer.of(0)]), 'DAMAGED', /segment 3 of 3/],
  [
    'a whole segment more',
    (bytes) => Buffer.concat([bytes, bytes.subarray(-segment)]),
    'DAMAGED',
    /segment 3 of 4/,
  ],
  [
    'two segments exchanged',
    (bytes) => {
      const second = Buffer.from(bytes.subarray(head + segment, head + 2 * segment))
      bytes.copy(bytes, head + segment, head + 40, head + segment)
      second.copy(bytes, head + 40, 40)
      return bytes
    },
    'DAMAGED',
    /segment 1 of 3/,
  ],
]

describe('reading', () => {
  it.each(damages)('refuses %s and changes nothing', async (_what, change, code, message) => {
    const { place, store } = await largeVault()
    writeFileSync(place.file('tk'), change(readFileSync(place.file('tk'))))
    const before = snapshot(place)
    const works = [
      async () => store.get('tk', 'big'),
      async () => store.get('tk'),
      async () => store.put('tk', { a: 1 }),
    ]
    for (const work of works) {
      const error = await refusal(work())
      expect(error.code).toBe(code)
      expect(error.message).toMatch(message)
      expect(error.exit).toBe(5)
    }
    expect(snapshot(place)).toEqual(before)
    expect(readdirSync(place.storageDir).filter((name) => name.includes('kvx-new'))).toEqual([])
  })

  it('refuses a segment of another write of the same vault under the same key', async () => {
    const { place, store, value } = await largeVault()
    const first = readFileSync(place.file('tk'))
    await store.put('tk', { big: value })
    const second = readFileSync(place.file('tk'))
    first.copy(second, head + segment, head + segment, head + 2 * segment)
    writeFileSync(place.file('tk'), second)
    expect((await refusal(store.get('tk', 'big'))).message).toMatch(/segment 2 of 3/)
  })

  it('refuses a vault under the name of another one with the same key', async () => {
    const { place, store } = await largeVault()
    writeKey(`${place.keyDir}/ma.key`, place.key('tk'))
    copyFileSync(place.file('tk'), place.file('ma'))
    const error = await refusal(store.get('ma', 'big'))
    expect(error).toMatchObject({ code: 'DAMAGED', exit: 5 })
    expect(error.message).toMatch(/it is the vault tk, not ma/)
  })

  it('refuses another key by its check value before it tries anything', async () => {
    const { place, store } = await largeVault()
    writeKey(`${place.keyDir}/tk.key`, randomBytes(32))
    const error = await refusal(store.get('tk', 'big'))
    expect(error).toMatchObject({ code: 'WRONG_KEY', exit: 5 })
    expect(error.message).toMatch(/check value [0-9A-F]{10},/)
  })

  it('refuses an older copy that was put back, and takes it where that is said', async () => {
    const place = vaultPlace()
    const store = storeIn(place)
    await store.put('tk', { a: 1 })
    const old = readFileSync(place.file('tk'))
    await store.put('tk', { a: 2 })
    writeFileSync(place.file('tk'), old)
    const works = [
      async () => store.get('tk', 'a'),
      async () => store.put('tk', { b: 1 }),
      async () => store.delete('tk', 'a'),
    ]
    for (const work of works) {
      const error = await refusal(work())
      expect(error).toMatchObject({ code: 'DAMAGED', exit: 5 })
      expect(error.message).toMatch(/has generation 1, and generation 2 was seen already/)
    }
    const keyProvider = createKeyProvider({ keyDir: place.keyDir })
    const accepting = createStore({ storageDir: place.storageDir, keyProvider, acceptGeneration: true })
    expect(await accepting.get('tk', 'a')).toBe(1)
    await accepting.put('tk', { b: 3 })
    expect(await store.get('tk')).toEqual({ a: 1, b: 3 })
    expect((await store.list())[0]?.generation).toBe(3n)
  })

  it('goes on counting after a vault was removed, so that its old copy is refused', async () => {
    const place = vaultPlace()
    const store = storeIn(place)
    await store.put('tk', { a: 1 })
    const old = readFileSync(place.file('tk'))
    expect(await store.delete('tk')).toBe(true)
    expect(await store.get('tk')).toBeUndefined()
    await store.put('tk', { a: 2 })
    expect((await store.list())[0]?.generation).toBe(2n)
    writeFileSync(place.file('tk'), old)
    expect((await refusal(store.get('tk', 'a'))).message).toMatch(/older copy/)
  })

  it('lists vaults without a key, and says what is wrong with a file that is none', async () => {
    const { place, store } = await largeVault()
    writeFileSync(place.file('ma'), 'not a vault')
    writeFileSync(`${place.storageDir}/notes.txt`, 'x')
    const listed = await store.list()
    expect(listed.map(({ name }) => name)).toEqual(['ma', 'tk'])
    expect(listed[0]?.problem).toMatch(/does not begin with KVXVAULT/)
    expect(listed[1]).toMatchObject({ generation: 1n, problem: undefined })
    truncateSync(place.file('ma'), 0)
    expect((await store.list())[0]?.problem).toMatch(/it is empty/)
  })
})
