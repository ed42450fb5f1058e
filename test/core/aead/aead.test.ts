import { createCipheriv, createDecipheriv, Decipheriv, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { aeadNamed, aeadNames, freshNonce, isAeadName, prepareKey } from '../../../src/core/aead/aead.ts'
import { isKvxError } from '../../../src/core/errors.ts'
import { Secret } from '../../../src/core/secret.ts'

const none = new Uint8Array()
const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

function messageOf(
  make: () => unknown,
  code: 'LAYOUT_MISMATCH' | 'KEY_MALFORMED' | 'CONFIG_INVALID',
): string {
  try {
    make()
  } catch (error) {
    if (isKvxError(error, code)) return error.message
    throw error
  }
  return 'accepted'
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = Uint8Array.from(bytes)
  const at = Math.floor(bit / 8) % changed.length
  changed[at] = (changed[at] ?? 0) ^ (1 << (bit % 8))
  return changed
}

describe.each(aeadNames)('%s', (name) => {
  const aead = aeadNamed(name)
  const material = (): Secret => Secret.take(randomBytes(aead.keyLength))
  const noAad = !aead.takesAad

  test('opens what it sealed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 100 }), (plaintext, some) => {
        const aad = noAad ? none : some
        const key = prepareKey(aead, material())
        const nonce = freshNonce(aead)
        const sealed = aead.seal(key, nonce, plaintext, aad)
        expect(sealed.ct.length).toBe(plaintext.length)
        expect(sealed.tag.length).toBe(16)
        expect(Buffer.from(plaintext).equals(aead.open(key, nonce, sealed, aad) ?? randomBytes(400))).toBe(
          true,
        )
      }),
    )
  })

  test('opens nothing in which one bit differs', () => {
    const key = prepareKey(aead, material())
    const bit = fc.nat(100_000)
    const input = fc.record({
      plaintext: fc.uint8Array({ minLength: 1, maxLength: 64 }),
      bit,
      what: fc.constantFrom('ct', 'tag', 'nonce', 'aad'),
    })
    fc.assert(
      fc.property(input, ({ plaintext, bit, what }) => {
        const aad = noAad ? none : Buffer.from('table|column|42')
        const nonce = freshNonce(aead)
        const { ct, tag } = aead.seal(key, nonce, plaintext, aad)
        if (what === 'aad' && noAad) return
        const opened = aead.open(
          key,
          what === 'nonce' ? flipped(nonce, bit) : nonce,
          { ct: what === 'ct' ? flipped(ct, bit) : ct, tag: what === 'tag' ? flipped(tag, bit) : tag },
          what === 'aad' ? flipped(aad, bit) : aad,
        )
        expect(opened).toBeUndefined()
      }),
      { numRuns: 500 },
    )
  })

  test('opens nothing under another key', () => {
    const nonce = freshNonce(aead)
    const sealed = aead.seal(prepareKey(aead, material()), nonce, Buffer.from('text'), none)
    expect(aead.open(prepareKey(aead, material()), nonce, sealed, none)).toBeUndefined()
  })

  test('refuses tags that are not 16 bytes, which a plain cipher would take', () => {
    const key = prepareKey(aead, material())
    const nonce = freshNonce(aead)
    const { ct, tag } = aead.seal(key, nonce, Buffer.from('text'), none)
    for (const length of [0, 4, 8, 12, 13, 14, 15]) {
      const sealed = { ct, tag: tag.subarray(0, length) }
      expect(messageOf(() => aead.open(key, nonce, sealed, none), 'LAYOUT_MISMATCH')).toBe(
        `the tag has ${length} bytes; kvx opens nothing but tags of 16`,
      )
    }
    const long = { ct, tag: Buffer.concat([tag, Buffer.of(0)]) }
    expect(messageOf(() => aead.open(key, nonce, long, none), 'LAYOUT_MISMATCH')).toMatch(/17 bytes/)
  })

  test('refuses keys and nonces of another length', () => {
    const short = Secret.take(randomBytes(aead.keyLength - 1))
    expect(messageOf(() => prepareKey(aead, short), 'KEY_MALFORMED')).toBe(
      `the key has ${aead.keyLength - 1} bytes, ${name} takes ${aead.keyLength}`,
    )
    const key = prepareKey(aead, material())
    for (const length of [0, 1, 7, 65]) {
      const seal = (): unknown => aead.seal(key, new Uint8Array(length), none, none)
      const open = (): unknown =>
        aead.open(key, new Uint8Array(length), { ct: none, tag: new Uint8Array(16) }, none)
      expect(messageOf(seal, 'LAYOUT_MISMATCH')).toBe(`${name} takes no nonce of ${length} bytes`)
      expect(messageOf(open, 'LAYOUT_MISMATCH')).toBe(`${name} takes no nonce of ${length} bytes`)
    }
  })

  test('never shows a prepared key, and uses none that was wiped', () => {
    const key = prepareKey(aead, Secret.copy(new Uint8Array(aead.keyLength).fill(0x41)))
    expect(
      [inspect(key), JSON.stringify({ key }), inspect({ key }, { showHidden: true })].join(),
    ).not.toMatch(/AAAA|41 41|65,/)
    key.wipe()
    key.wipe()
    expect(() => aead.seal(key, freshNonce(aead), none, none)).toThrow(TypeError)
  })

  test('leaves the material to the caller', () => {
    const secret = material()
    const before = secret.lend((bytes) => Buffer.from(bytes))
    prepareKey(aead, secret).wipe()
    expect(secret.lend((bytes) => before.equals(bytes))).toBe(true)
  })

  test('uses a key for the one algorithm for which it was prepared', () => {
    const other = aeadNamed(name === 'aes-256-gcm' ? 'chacha20-poly1305' : 'aes-256-gcm')
    const key = prepareKey(other, Secret.take(randomBytes(32)))
    expect(() => aead.seal(key, freshNonce(aead), none, none)).toThrow(TypeError)
  })
})

describe('the algorithms', () => {
  test('are those of their standards', () => {
    // GCM specification (McGrew, Viega), test case 16; RFC 8439 2.8.2; draft-irtf-cfrg-xchacha A.3.1; NaCl's tests/box.
    const gcm = aeadNamed('aes-256-gcm')
    const key = fromHex('feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308')
    const text = fromHex(
      'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
    )
    const sealed = gcm.seal(
      prepareKey(gcm, Secret.take(key)),
      fromHex('cafebabefacedbaddecaf888'),
      text,
      fromHex('feedfacedeadbeeffeedfacedeadbeefabaddad2'),
    )
    expect(Buffer.from(sealed.tag).toString('hex')).toBe('76fc6ece0f4e1768cddf8853bb2d551b')

    const sunscreen = Buffer.from(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    )
    const range = Secret.take(Uint8Array.from({ length: 32 }, (_, at) => 0x80 + at))
    const aad = fromHex('50515253c0c1c2c3c4c5c6c7')
    const chacha = aeadNamed('chacha20-poly1305')
    const short = chacha.seal(prepareKey(chacha, range), fromHex('070000004041424344454647'), sunscreen, aad)
    expect(Buffer.from(short.tag).toString('hex')).toBe('1ae10b594f09e26a7e902ecbd0600691')
    const xchacha = aeadNamed('xchacha20-poly1305')
    const nonce = Uint8Array.from({ length: 24 }, (_, at) => 0x40 + at)
    const long = xchacha.seal(prepareKey(xchacha, range), nonce, sunscreen, aad)
    expect(Buffer.from(long.tag).toString('hex')).toBe('c0875924c1c7987947deafd8780acf49')
  })

  test.each([8, 12, 16, 32, 64])('take GCM nonces of %i bytes as plain node:crypto does', (length) => {
    const gcm = aeadNamed('aes-192-gcm')
    const key = randomBytes(24)
    const nonce = freshNonce(gcm, length)
    const sealed = gcm.seal(prepareKey(gcm, Secret.copy(key)), nonce, Buffer.from('text'), Buffer.from('aad'))
    const decipher = createDecipheriv('aes-192-gcm', key, nonce, { authTagLength: 16 })
    decipher.setAAD(Buffer.from('aad')).setAuthTag(sealed.tag)
    expect(decipher.update(sealed.ct, undefined, 'utf8') + decipher.final('utf8')).toBe('text')
  })

  test('open what was sealed with a tag of 16 bytes, and not its first 12', () => {
    const gcm = aeadNamed('aes-256-gcm')
    const key = randomBytes(32)
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 12 })
    const ct = Buffer.concat([cipher.update('text'), cipher.final()])
    const open = (): unknown =>
      gcm.open(prepareKey(gcm, Secret.copy(key)), nonce, { ct, tag: cipher.getAuthTag() }, none)
    expect(messageOf(open, 'LAYOUT_MISMATCH')).toMatch(/12 bytes/)
  })

  test('wipe what was decrypted before the tag was found wrong', () => {
    const gcm = aeadNamed('aes-256-gcm')
    const key = prepareKey(gcm, Secret.take(randomBytes(32)))
    const nonce = freshNonce(gcm)
    const { ct } = gcm.seal(key, nonce, Buffer.from('unverified plaintext'), none)
    const update = vi.spyOn(Decipheriv.prototype, 'update')
    try {
      expect(gcm.open(key, nonce, { ct, tag: randomBytes(16) }, none)).toBeUndefined()
      expect(update.mock.results.map((result) => result.value)).toEqual([Buffer.alloc(20)])
    } finally {
      update.mockRestore()
    }
  })

  test('refuse associated data that secretbox can not bind', () => {
    const box = aeadNamed('xsalsa20-poly1305')
    const key = prepareKey(box, Secret.take(randomBytes(32)))
    expect(messageOf(() => box.seal(key, freshNonce(box), none, Buffer.from('x')), 'LAYOUT_MISMATCH')).toBe(
      'xsalsa20-poly1305 has no associated data',
    )
  })

  test('are found by name, and an unknown name is refused', () => {
    expect(isAeadName('aes-256-gcm')).toBe(true)
    expect(isAeadName('toString')).toBe(false)
    expect(messageOf(() => aeadNamed('aes-256-cbc'), 'CONFIG_INVALID')).toBe(
      'an AEAD has a name that kvx does not know',
    )
  })
})
