import { createHash, createHmac, hkdfSync, pbkdf2Sync, scryptSync, randomBytes } from 'node:crypto'
import { argon2d, argon2i, argon2id } from '@noble/hashes/argon2.js'
import * as fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileDerivation, type DerivationContext } from '../../../src/core/layout/derivation.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'
import type { Value } from '../../../src/core/layout/values.ts'
import { Secret } from '../../../src/core/secret.ts'

const key = Buffer.from('the configured key')
const cells: Readonly<Record<string, Value>> = {
  org: 'acme',
  version: 3n,
  salt: Buffer.from('column salt'),
  iterations: '2048',
  nothing: null,
}
const parts: Readonly<Record<string, Uint8Array | bigint>> = {
  salt: Buffer.from('part of the value'),
  nonce: Buffer.alloc(12, 7),
  version: 9n,
  iterations: 1000n,
}

function contextOf(material: Buffer = key): DerivationContext {
  return {
    key: Secret.copy(material),
    cell: (name) => cells[name] ?? null,
    newCell: (name) => (name === 'version' ? 4n : (cells[name] ?? null)),
    part: (name) => parts[name],
  }
}

function derived(source: string, material: Buffer = key): string {
  return compileDerivation(source)
    .derive(contextOf(material))
    .lend((bytes) => bytes.toString('hex'))
}

function refusal(source: string): string {
  try {
    compileDerivation(source)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_INVALID')) return `${error.message}\n${error.hint}`
    throw error
  }
  return 'accepted'
}

function fault(source: string, material?: Buffer): string {
  try {
    derived(source, material)
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_MISMATCH')) return error.message
    throw error
  }
  return 'accepted'
}

const sha = (name: string, ...pieces: readonly (string | Buffer)[]): string =>
  createHash(name)
    .update(Buffer.concat(pieces.map((piece) => Buffer.from(piece))))
    .digest('hex')

describe('a derivation', () => {
  test('is the function that its name says', () => {
    for (const name of ['md5', 'sha1', 'sha256', 'sha384', 'sha512', 'sha3-256', 'sha3-512']) {
      expect(derived(`${name}(key)`)).toBe(sha(name, key))
      expect(derived(`${name}()`)).toBe(sha(name, key))
    }
    for (const name of ['sha1', 'sha256', 'sha384', 'sha512']) {
      expect(derived(`hmac-${name}("label")`)).toBe(createHmac(name, key).update('label').digest('hex'))
      expect(derived(`hmac-${name}(key, key="label")`)).toBe(
        createHmac(name, 'label').update(key).digest('hex'),
      )
      expect(derived(`hkdf-${name}(salt="s", info="i", length=70)`)).toBe(
        Buffer.from(hkdfSync(name, key, 's', 'i', 70)).toString('hex'),
      )
      expect(derived(`hkdf-${name}()`)).toBe(Buffer.from(hkdfSync(name, key, '', '', 32)).toString('hex'))
      expect(derived(`pbkdf2-${name}(salt="s", iterations=3, length=20)`)).toBe(
        pbkdf2Sync(key, 's', 3, 20, name).toString('hex'),
      )
    }
    expect(derived('scrypt(salt="s", n=16, r=2, p=3)')).toBe(
      scryptSync(key, 's', 32, { N: 16, r: 2, p: 3 }).toString('hex'),
    )
    for (const name of ['shake128', 'shake256']) {
      const expected = createHash(name, { outputLength: 50 }).update(key).digest('hex')
      expect(derived(`${name}(key, length=50)`)).toBe(expected)
      expect(derived(`${name}(key, 50)`)).toBe(expected)
    }
  })

  // Of the reference implementation's tests, and of the test vectors of BLAKE3.
  test('gives known answers where node:crypto is what computes, or knows nothing', () => {
    expect(
      derived('argon2id(salt="somesalt", memory=65536, passes=2, lanes=1)', Buffer.from('password')),
    ).toBe('09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7')
    expect(derived('blake2b(key, length=64)')).toBe(sha('blake2b512', key))
    expect(derived('blake2s(key)')).toBe(sha('blake2s256', key))
    expect(derived('blake3(key)', Buffer.from(''))).toBe(
      'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262',
    )
    expect(derived('blake2b("x", key=key, length=16)')).not.toBe(derived('blake2b("x", length=16)'))
    // Python: hashlib.blake2b(b'', key=b'\x01' * 32, salt=(1).to_bytes(8, 'little'), person=b'kvxtests', digest_size=32),
    // which is libsodium's crypto_kdf_derive_from_key.
    expect(derived('blake2b("", key=key, salt=u64le(1), person="kvxtests")', Buffer.alloc(32, 1))).toBe(
      'f1f0adddebcf660ca8a81f6dd9fd808d1c0d3069f3f3b90027d3de142bd76bc4',
    )
    // Node computes it where it can; noble does on older ones, and both agree.
    for (const [name, other] of Object.entries({ argon2id, argon2i, argon2d })) {
      const options = { m: 64, t: 2, p: 2, dkLen: 24 }
      expect(derived(`${name}(salt="somesalt", memory=64, passes=2, lanes=2, length=24)`)).toBe(
        Buffer.from(other(key, 'somesalt', options)).toString('hex'),
      )
    }
    // MySQL folds the passphrase of AES_ENCRYPT.
    expect(derived('xorfold(key, 4)', Buffer.from('010203040506', 'hex'))).toBe('04040304')
  })

  test('is OpenSSL’s EVP_BytesToKey, as `openssl enc -md md5` derives', () => {
    // printf 'kvx' | openssl enc -aes-256-cbc -md md5 -S 0102030405060708 -pass pass:secret
    const salt = Buffer.from('0102030405060708', 'hex')
    const one = createHash('md5').update('secret').update(salt).digest()
    const two = createHash('md5').update(one).update('secret').update(salt).digest()
    const three = createHash('md5').update(two).update('secret').update(salt).digest()
    const all = Buffer.concat([one, two, three])
    const source = (length: number): string => `evp-bytes-to-key-md5(key, 0x0102030405060708, ${length})`
    expect(derived(source(48), Buffer.from('secret'))).toBe(all.toString('hex'))
    expect(derived(source(20), Buffer.from('secret'))).toBe(all.subarray(0, 20).toString('hex'))
    expect(derived('evp-bytes-to-key-sha256(salt=0x01, length=32)')).toBe(sha('sha256', key, '\x01'))
  })

  test('takes pieces, texts and paddings', () => {
    const twelve = Buffer.from('0123456789ab')
    const hexOf = (text: string): string => Buffer.from(text, 'latin1').toString('hex')
    expect(derived('slice(key, 2)', twelve)).toBe(hexOf('23456789ab'))
    expect(derived('slice(key, 2, 3)', twelve)).toBe(hexOf('234'))
    expect(derived('slice(key, offset=0, length=12)', twelve)).toBe(hexOf('0123456789ab'))
    expect(derived('slice(hex(sha256(key)), 0, 32)')).toBe(hexOf(sha('sha256', key).slice(0, 32)))
    expect(derived('pad(key, 14)', twelve)).toBe(hexOf('0123456789ab\0\0'))
    expect(derived('pad(key, 4)', twelve)).toBe(hexOf('0123'))
    expect(derived('pad(key, 14, with="0")', twelve)).toBe(hexOf('0123456789ab00'))
    expect(derived('unhex(key)', Buffer.from('00fF'))).toBe('00ff')
    expect(derived('unbase64(key)', Buffer.from('+/8='))).toBe('fbff')
    expect(derived('unbase64(key)', Buffer.from('+/8'))).toBe('fbff')
    expect(derived('unbase64url(key)', Buffer.from('-_8='))).toBe('fbff')
    expect(derived('unbase64url()', Buffer.from('-_8'))).toBe('fbff')
    expect(derived('upper(hex(key)) lower("ÀBC{")', Buffer.from('\xab', 'latin1'))).toBe(
      Buffer.from('ABÀbc{').toString('hex'),
    )
    expect(derived('bits64("abc")')).toBe('0000000000000018')
    expect(derived('key')).toBe(key.toString('hex'))
    expect(derived('base64(key)')).toBe(Buffer.from(key.toString('base64')).toString('hex'))
  })

  test('has columns and parts, each under its own name', () => {
    expect(derived('sha256(key "|org:" {org} "|v" {version})')).toBe(sha('sha256', key, '|org:acme|v3'))
    expect(derived('sha256(key "|v" {version\'} "|" version)')).toBe(sha('sha256', key, '|v4|9'))
    expect(derived('hkdf-sha256(salt=salt, info="x", length=12)')).toBe(
      Buffer.from(hkdfSync('sha256', key, 'part of the value', 'x', 12)).toString('hex'),
    )
    expect(derived('pbkdf2-sha256(salt={salt}, iterations={iterations})')).toBe(
      pbkdf2Sync(key, 'column salt', 2048, 32, 'sha256').toString('hex'),
    )
    expect(derived('pbkdf2-sha256(salt=salt, iterations=iterations)')).toBe(
      pbkdf2Sync(key, 'part of the value', 1000, 32, 'sha256').toString('hex'),
    )
    const compiled = compileDerivation("hkdf-sha256(key, salt=salt, info={org} {version'} header)")
    expect([...compiled.columns, ...compiled.newColumns, ...compiled.partNames]).toEqual([
      'org',
      'version',
      'salt',
      'header',
    ])
  })

  test('stands in templates too, and nowhere in layouts', () => {
    const template = compileTemplate('hex(sha256({org})) slice({org}, 1, 2)')
    expect(Buffer.from(template.render(contextOf())).toString()).toBe(`${sha('sha256', 'acme')}cm`)
    expect(() => compileTemplate('sha256(key)')).toThrow('a part named key is not known')
    expect(() => compileTemplate('sha256()')).toThrow('sha256 lacks its data')
    expect(() => compileLayout('sha256(ct)')).toThrow(/sha256 makes bytes that can't be read back/)
  })
})

/** Notes every buffer that is filled with zeros, by either of the two functions that there are. */
function watchFill(made: Uint8Array[]): { restore(): void } {
  const spies = [Uint8Array.prototype, Buffer.prototype].map((prototype) =>
    vi.spyOn(prototype, 'fill').mockImplementation(function (this: Uint8Array, value: unknown) {
      if (value === 0) made.push(this)
      for (let at = 0; at < this.length; at++) this[at] = Number(value)
      return this
    }),
  )
  return { restore: () => spies.forEach((spy) => spy.mockRestore()) }
}

describe('what a derivation made on the way', () => {
  test('is wiped, and what it was lent is not', () => {
    const made: Uint8Array[] = []
    const watched = watchFill(made)
    const source = 'sha256(hex(key "|" utf8(key)) lp16(key) slice(pad(key, 40), 1))'
    const context = contextOf()
    const result = compileDerivation(source).derive(context)
    watched.restore()
    // lp16's, sha256's result, key "|" utf8(key), slice's, pad's (filled when it was made too), the hex, and what
    // sha256 takes.
    expect(made.map((bytes) => bytes.length).toSorted((one, other) => one - other)).toEqual([
      20, 32, 37, 39, 40, 40, 74, 133,
    ])
    expect(made.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true)
    expect(context.key.lend((bytes) => bytes.equals(key))).toBe(true)
    const pad = Buffer.concat([key, Buffer.alloc(22)]).subarray(1)
    const middle = Buffer.concat([key, Buffer.from('|'), key]).toString('hex')
    const expected = sha('sha256', middle, Buffer.from([0, key.length]), key, pad)
    expect(result.lend((bytes) => bytes.toString('hex'))).toBe(expected)
  })

  test('is wiped when a later step fails', () => {
    const made: Uint8Array[] = []
    const watched = watchFill(made)
    expect(() => compileDerivation('sha256(key) {nothing}').derive(contextOf())).toThrow(
      'column nothing is null',
    )
    watched.restore()
    expect(made.map((bytes) => bytes.length)).toEqual([32])
  })

  test('is wiped inside a function of several blocks too', () => {
    const made: Uint8Array[] = []
    const watched = watchFill(made)
    compileDerivation('evp-bytes-to-key-md5(key, salt, 48)').derive(contextOf())
    watched.restore()
    expect(made.map((bytes) => bytes.length)).toEqual([0, 16, 16, 16, 48])
    expect(made.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true)
  })

  test('never wipes literals: the next call gives the same', () => {
    for (const source of [
      '"text"',
      'utf8("text")',
      'hkdf-sha256("ikm", salt="s", info=utf8("i"))',
      'hex("a" "b")',
    ]) {
      const derivation = compileDerivation(source)
      const [one, other] = [1, 2].map(() =>
        derivation.derive(contextOf()).lend((bytes) => bytes.toString('hex')),
      )
      expect(one).toBe(other)
    }
    expect(parts['nonce']).toEqual(Buffer.alloc(12, 7))
  })
})

describe('a fault', () => {
  test('is named when the derivation is read', () => {
    expect(refusal('hkdf-sha256(sal="")')).toMatchInlineSnapshot(`
      "derivation, line 1, column 13: hkdf-sha256 has no argument named sal
        hkdf-sha256(sal="")
                    ^^^
      write salt="
    `)
    expect(refusal('hkdf-sha256(colour="")')).toMatchInlineSnapshot(`
      "derivation, line 1, column 13: hkdf-sha256 has no argument named colour
        hkdf-sha256(colour="")
                    ^^^^^^
      write data, salt, info, length"
    `)
    expect(refusal('hkdf-sha256(info="a",\n  info="b")')).toMatchInlineSnapshot(`
      "derivation, line 2, column 3: info of hkdf-sha256 stands here a second time
          info="b")
          ^^^^^^^^
      leave one of them out"
    `)
    expect(refusal('pbkdf2-sha256(salt="x")')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: pbkdf2-sha256 lacks its iterations
        pbkdf2-sha256(salt="x")
        ^^^^^^^^^^^^^
      write pbkdf2-sha256(data, salt=…, iterations=…, length=…)"
    `)
    expect(refusal('pbkdf2-sha256(iterations=1000)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: pbkdf2-sha256 lacks its salt
        pbkdf2-sha256(iterations=1000)
        ^^^^^^^^^^^^^
      write pbkdf2-sha256(data, salt=…, iterations=…, length=…)"
    `)
    expect(refusal('sha256(key, {org})')).toMatchInlineSnapshot(`
      "derivation, line 1, column 13: sha256 has no place for this argument
        sha256(key, {org})
                    ^^^^^
      write sha256(data), and spaces between items that follow each other"
    `)
    expect(refusal('hkdf-sha256(key, "salt")')).toMatchInlineSnapshot(`
      "derivation, line 1, column 18: hkdf-sha256 has no place for this argument
        hkdf-sha256(key, "salt")
                         ^^^^^^
      write hkdf-sha256(data, salt=…, info=…, length=…), and spaces between items that follow each other"
    `)
    expect(refusal('slice(key)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: slice lacks its offset
        slice(key)
        ^^^^^
      write slice(data, offset, length)"
    `)
    expect(refusal('pad()')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: pad lacks its data
        pad()
        ^^^
      write pad(data, length, with=…)"
    `)
    expect(refusal('shake256(key, length="x")')).toMatchInlineSnapshot(`
      "derivation, line 1, column 22: length of shake256 is one number, part or column
        shake256(key, length="x")
                             ^^^
      write e.g. length=32"
    `)
    expect(refusal('shake256(key, length=1 2)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 24: length of shake256 is one number, part or column
        shake256(key, length=1 2)
                               ^
      write e.g. length=32"
    `)
    expect(refusal('sha257(key)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: a function named sha257 is not known
        sha257(key)
        ^^^^^^
      write sha256"
    `)
    expect(refusal('sha256(kye)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 8: a part named kye is not known
        sha256(kye)
               ^^^
      write key"
    `)
    expect(refusal('sha256')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: a part named sha256 is not known
        sha256
        ^^^^^^
      sha256 is a function: write what it encodes, e.g. sha256(ct)"
    `)
    expect(refusal('u8(key)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 4: key is bytes and no number
        u8(key)
           ^^^
      write key alone"
    `)
    expect(refusal('json({"k": hex(key)})')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: a key is not made from JSON
        json({"k": hex(key)})
        ^^^^^^^^^^^^^^^^^^^^^
      write the text as literals and columns"
    `)
    expect(refusal('header(key)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: header(…) marks bytes of a layout
        header(key)
        ^^^^^^^^^^^
      write header for the bytes of the value"
    `)
    expect(refusal('key | sha256(key)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 7: a derivation has no alternatives
        key | sha256(key)
              ^^^^^^^^^^^
      put a | of the bytes into quotes: "|""
    `)
    expect(refusal('')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: the derivation has nothing in it
      write what the bytes consist of, e.g. hkdf-sha256(salt="", info="app:v1")"
    `)
  })

  test('that would hang or exhaust the machine is refused with its limit', () => {
    expect(refusal('pbkdf2-sha256(salt="x", iterations=100000000)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 36: iterations is not from 1 to 10000000
        pbkdf2-sha256(salt="x", iterations=100000000)
                                           ^^^^^^^^^
      write the number that the application uses: larger ones would hang or exhaust the machine"
    `)
    expect(refusal('pbkdf2-sha256(salt="x", iterations=0)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 36: iterations is not from 1 to 10000000
        pbkdf2-sha256(salt="x", iterations=0)
                                           ^
      write the number that the application uses: larger ones would hang or exhaust the machine"
    `)
    expect(refusal('scrypt(salt="x", n=2097152)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 20: n is not from 2 to 1048576
        scrypt(salt="x", n=2097152)
                           ^^^^^^^
      write the number that the application uses: larger ones would hang or exhaust the machine"
    `)
    expect(refusal('scrypt(salt="x", n=1000)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: scrypt: n is no power of 2
        scrypt(salt="x", n=1000)
        ^^^^^^^^^^^^^^^^^^^^^^^^
      write the numbers that the application uses"
    `)
    expect(refusal('scrypt(salt="x", n=1048576, r=16)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: scrypt: n and r together need more than 1 GiB
        scrypt(salt="x", n=1048576, r=16)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      write the numbers that the application uses"
    `)
    expect(refusal('scrypt(salt="x", n=65536, r=16, p=64)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: scrypt: n, r and p together are more than 2^25
        scrypt(salt="x", n=65536, r=16, p=64)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      write the numbers that the application uses"
    `)
    expect(refusal('argon2id(salt="12345678", memory=4194304, passes=1)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 34: memory is not from 8 to 1048576
        argon2id(salt="12345678", memory=4194304, passes=1)
                                         ^^^^^^^
      write the number that the application uses: larger ones would hang or exhaust the machine"
    `)
    expect(refusal('argon2id(salt="12345678", memory=1048576, passes=10)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: argon2id: memory times passes is more than 8 GiB
        argon2id(salt="12345678", memory=1048576, passes=10)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      write the numbers that the application uses"
    `)
    expect(refusal('argon2id(salt="12345678", memory=16, passes=1, lanes=4)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 1: argon2id: memory is less than 8 KiB for each of the lanes
        argon2id(salt="12345678", memory=16, passes=1, lanes=4)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      write the numbers that the application uses"
    `)
    expect(refusal('hkdf-sha256(length=1025)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 20: length is not from 1 to 1024
        hkdf-sha256(length=1025)
                           ^^^^
      write the number that the application uses: larger ones would hang or exhaust the machine"
    `)
    expect(refusal('shake256(key, length=0)')).toMatchInlineSnapshot(`
      "derivation, line 1, column 22: length is not from 1 to 1024
        shake256(key, length=0)
                             ^
      write the number that the application uses: larger ones would hang or exhaust the machine"
    `)
    expect(refusal('shake256(key, length=18446744073709551615)')).toContain('length is not from 1 to 1024')
  })

  test('of a record is named when the key is made, and shows no byte', () => {
    expect(fault('pbkdf2-sha256(salt="x", iterations={org})')).toBe('column org is not an integer')
    expect(fault('pbkdf2-sha256(salt={nothing}, iterations=1)')).toBe('column nothing is null')
    expect(fault('sha256(mac)')).toBe('part mac is not given')
    expect(fault('scrypt(salt="x", n={version})')).toBe('scrypt(salt="x", n={version}): n is no power of 2')
    expect(fault('pad(key, {iterations})')).toBe('length of pad(key, {iterations}) is not from 1 to 1024')
    expect(fault('slice(key, 20)')).toBe('slice takes bytes 20 to 18, and there are 18')
    expect(fault('slice(key, 10, 9)')).toBe('slice takes bytes 10 to 19, and there are 18')
    expect(fault('unhex(key)')).toBe('what unhex takes is no hex')
    expect(fault('unbase64(key)')).toBe('what unbase64 takes is no base64')
    expect(fault('pad(key, 32, with="ab")')).toBe('pad fills with one byte')
    expect(fault('argon2id(salt="short", memory=8, passes=1)')).toBe(
      'the salt of argon2id has fewer than 8 bytes',
    )
    expect(fault('blake3(key, key="short")')).toBe('blake3 takes no key of 5 bytes')
    expect(fault('blake2b(key, salt=sha256(key))')).toBe('blake2b takes no salt of 32 bytes')
    expect(fault('blake2s(key, key=hex(sha256(key)))')).toBe('blake2s takes no key of 64 bytes')
    expect(fault('hkdf-sha256(info=pad("", 1024) "x")')).toBe(
      'the info of hkdf-sha256 has more than 1024 bytes',
    )
    expect(fault('key:32')).toBe('part key has 18 bytes, key:32 takes 32')
  })
})

test('opens what n8n sealed, key and nonce made from one salt', () => {
  const salt = randomBytes(32)
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), (material) => {
      const made = Buffer.from(hkdfSync('sha256', material, salt, 'n8n-encryption-v1', 44))
      const context = { ...contextOf(Buffer.from(material)), part: () => salt }
      const nonce = compileDerivation(
        'slice(hkdf-sha256(salt=salt, info="n8n-encryption-v1", length=44), 32, 12)',
      )
      expect(nonce.derive(context).lend((bytes) => bytes.equals(made.subarray(32)))).toBe(true)
    }),
    { numRuns: 20 },
  )
})
