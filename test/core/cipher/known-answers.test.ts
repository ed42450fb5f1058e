import { createCipheriv, createHmac } from 'node:crypto'
import { aessiv } from '@noble/ciphers/aes.js'
import { describe, expect, test } from 'vitest'
import type { CipherOptions, SealedParts } from '../../../src/core/cipher/cipher.ts'
import { cipherNamed } from '../../../src/core/cipher/registry.ts'
import { Secret } from '../../../src/core/secret.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** 00 01 02 … */
const counting = (length: number): string =>
  Buffer.from(Array.from({ length }, (_, at) => at)).toString('hex')

type Known = {
  readonly cipher: string
  readonly from: string
  readonly options?: CipherOptions
  readonly key: string
  readonly given: Readonly<Record<string, string>>
  readonly made: Readonly<Record<string, string>>
  readonly plaintext: string
  readonly aad?: string
}

const principle = Buffer.from('The second principle of Auguste Kerckhoffs').toString('hex')
const enemy = Buffer.from(
  'A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy without inconvenience',
).toString('hex')
const jweNonce = '1af38c2dc2b96ffdd86694092341bc04'

const known: readonly Known[] = [
  {
    cipher: 'aes-128-ocb',
    from: 'RFC 7253, appendix A',
    key: counting(16),
    given: { nonce: 'bbaa99887766554433221101' },
    made: { ct: '6820b3657b6f615a', tag: '5725bda0d3b4eb3a257c9af1f8f03009' },
    plaintext: counting(8),
    aad: counting(8),
  },
  {
    cipher: 'aes-128-gcm-siv',
    from: 'RFC 8452, C.1',
    key: `01${'00'.repeat(15)}`,
    given: { nonce: `03${'00'.repeat(11)}` },
    made: { ct: 'b5d839330ac7b786', tag: '578782fff6013b815b287c22493a364c' },
    plaintext: '0100000000000000',
  },
  {
    cipher: 'aes-256-gcm-siv',
    from: 'RFC 8452, C.2',
    key: `01${'00'.repeat(31)}`,
    given: { nonce: `03${'00'.repeat(11)}` },
    made: { ct: 'c2ef328e5c71c83b', tag: '843122130f7364b761e0b97427e3df28' },
    plaintext: '0100000000000000',
  },
  {
    cipher: 'aes-siv',
    from: 'RFC 5297, A.1',
    key: 'fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff',
    given: {},
    made: { tag: '85632d07c6e8f37f950acd320a2ecc93', ct: '40c02b9690c4dc04daef7f6afe5c' },
    plaintext: '112233445566778899aabbccddee',
    aad: '101112131415161718191a1b1c1d1e1f2021222324252627',
  },
  {
    cipher: 'aes-256-kw',
    from: 'RFC 3394, 4.6',
    key: counting(32),
    given: {},
    made: { ct: '28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21' },
    plaintext: '00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f',
  },
  {
    cipher: 'aes-192-kwp',
    from: 'RFC 5649, 6',
    key: '5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8',
    given: {},
    made: { ct: 'afbeb0f07dfbf5419200f2ccb50bb24f' },
    plaintext: '466f7250617369',
  },
  {
    cipher: 'a128cbc-hs256',
    from: 'RFC 7518, B.1',
    key: counting(32),
    given: { nonce: jweNonce },
    made: {
      ct:
        'c80edfa32ddf39d5ef00c0b468834279a2e46a1b8049f792f76bfe54b903a9c9a94ac9b47ad2655c5f10f9aef71427e2' +
        'fc6f9b3f399a221489f16362c703233609d45ac69864e3321cf82935ac4096c86e133314c54019e8ca7980dfa4b9cf1b' +
        '384c486f3a54c51078158ee5d79de59fbd34d848b3d69550a67646344427ade54b8851ffb598f7f80074b9473c82e2db',
      tag: '652c3fa36b0a7c5b3219fab3a30bc1c4',
    },
    plaintext: enemy,
    aad: principle,
  },
  {
    cipher: 'a192cbc-hs384',
    from: 'RFC 7518, B.2',
    key: counting(48),
    given: { nonce: jweNonce },
    made: { tag: '8490ac0e58949bfe51875d733f93ac2075168039ccc733d7' },
    plaintext: enemy,
    aad: principle,
  },
  {
    cipher: 'a256cbc-hs512',
    from: 'RFC 7518, B.3',
    key: counting(64),
    given: { nonce: jweNonce },
    made: { tag: '4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5' },
    plaintext: enemy,
    aad: principle,
  },
  {
    cipher: 'fernet',
    from: 'generate.json of the specification',
    key: '730ff4c7af3d46923e8ed451ee813c87f790b0a226bc96a92de49b5e9c05e1ee',
    given: { nonce: counting(16), time: '000000001dc09eb0' },
    made: {
      ct: '2d36d5ca46556299fde13008633804b2',
      mac: 'c5ff9095f5d38f9ab86e5543e02686f03b3ec971b9ab47ae23566a54e08c2a0c',
    },
    plaintext: Buffer.from('hello').toString('hex'),
  },
]

function partsOf(written: Readonly<Record<string, string>>): SealedParts {
  return new Map(Object.entries(written).map(([name, digits]) => [name, hex(digits)]))
}

describe('a cipher', () => {
  test.each(known)(
    '$cipher is that of $from',
    ({ cipher, options, key, given, made, plaintext, aad = '' }) => {
      const sealing = cipherNamed(cipher, options)
      const prepared = sealing.prepare(Secret.copy(hex(key)))
      const parts = sealing.seal(prepared, hex(plaintext), partsOf(given), hex(aad))
      for (const [name, digits] of Object.entries(made)) {
        const part = parts.get(name)
        expect(Buffer.from(part instanceof Uint8Array ? part : []).toString('hex')).toBe(digits)
      }
      expect([...sealing.parts].toSorted()).toEqual([...parts.keys()].toSorted())
      expect(Buffer.from(sealing.open(prepared, parts, hex(aad)) ?? []).toString('hex')).toBe(plaintext)
    },
  )

  test('of Fernet reads the time as a number too, and the token is that of the specification', () => {
    const fernet = cipherNamed('fernet')
    const key = fernet.prepare(
      Secret.take(Buffer.from('cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=', 'base64url')),
    )
    const token = Buffer.from(
      'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==',
      'base64url',
    )
    const parts = new Map<string, Uint8Array | bigint>([
      ['time', 499_162_800n],
      ['nonce', token.subarray(9, 25)],
      ['ct', token.subarray(25, -32)],
      ['mac', token.subarray(-32)],
    ])
    expect(Buffer.from(fernet.open(key, parts, new Uint8Array()) ?? []).toString()).toBe('hello')
    expect(fernet.open(key, new Map(parts).set('time', 499_162_801n), new Uint8Array())).toBeUndefined()
  })

  test('of SIV leaves associated data out where there is none', () => {
    const siv = cipherNamed('aes-siv')
    const key = hex(counting(32))
    const parts = siv.seal(siv.prepare(Secret.copy(key)), Buffer.from('plain'), new Map(), hex(''))
    const sealed = Buffer.concat([bytes(parts, 'tag'), bytes(parts, 'ct')])
    expect(sealed.equals(aessiv(key).encrypt(Buffer.from('plain')))).toBe(true)
    expect(sealed.equals(aessiv(key, new Uint8Array()).encrypt(Buffer.from('plain')))).toBe(false)
  })

  test.each([128, 192, 256] as const)('aes-%s-ccm is CBC-MAC and CTR as SP 800-38C says', (bits) => {
    const ccm = cipherNamed(`aes-${bits}-ccm`)
    for (const nonceLength of [7, 12, 13]) {
      for (const [aad, plaintext] of [
        ['', ''],
        ['order:42', ''],
        ['', 'a plaintext of more than one block'],
        ['associated data of more than one block', 'sixteen bytes ok'],
      ] as const) {
        const key = hex(counting(bits / 8))
        const nonce = hex(counting(nonceLength))
        const expected = ccmByHand(key, nonce, Buffer.from(plaintext), Buffer.from(aad))
        const made = ccm.seal(
          ccm.prepare(Secret.copy(key)),
          Buffer.from(plaintext),
          new Map([['nonce', nonce]]),
          Buffer.from(aad),
        )
        expect(Buffer.from(bytes(made, 'ct')).equals(expected.ct)).toBe(true)
        expect(Buffer.from(bytes(made, 'tag')).equals(expected.tag)).toBe(true)
      }
    }
  })

  test.each([
    ['aes-256-cbc', 'sha256', '', 32],
    ['aes-128-ctr', 'sha512', 'order:42', 64],
    ['aes-192-cbc', 'sha384', 'order:42', 48],
  ] as const)('%s-hmac-%s is what its two standards make', (mode, hash, aad, length) => {
    const cipher = cipherNamed(`${mode}-hmac-${hash}`, { mac: 'lp32(aad) nonce ct' })
    const key = hex(counting(Number(mode.slice(4, 7)) / 8))
    const nonce = hex(counting(16))
    const plaintext = Buffer.from('sk-live-51H0x')
    const made = cipher.seal(
      cipher.prepare(Secret.copy(key)),
      plaintext,
      new Map([['nonce', nonce]]),
      Buffer.from(aad),
    )
    const encryption = createCipheriv(mode, key, nonce)
    const ct = Buffer.concat([encryption.update(plaintext), encryption.final()])
    const aadLength = Buffer.from([0, 0, 0, aad.length])
    const mac = createHmac(hash, key).update(aadLength).update(aad).update(nonce).update(ct).digest()
    expect(Buffer.from(bytes(made, 'ct')).equals(ct)).toBe(true)
    expect(Buffer.from(bytes(made, 'mac')).equals(mac)).toBe(true)
    expect(mac.length).toBe(length)
  })
})

function bytes(parts: SealedParts, name: string): Uint8Array {
  const value = parts.get(name)
  if (!(value instanceof Uint8Array)) throw new TypeError(`no part ${name}`)
  return value
}

/** From the standard, with nothing but single blocks of AES. */
function ccmByHand(
  key: Buffer,
  nonce: Buffer,
  plaintext: Buffer,
  aad: Buffer,
): { readonly ct: Buffer; readonly tag: Buffer } {
  const aes = (block: Buffer): Buffer =>
    createCipheriv(`aes-${key.length * 8}-ecb`, key, null)
      .setAutoPadding(false)
      .update(block)
  const lengthBytes = 15 - nonce.length
  const counter = (number: number): Buffer => {
    const tail = Buffer.alloc(lengthBytes)
    tail.writeUIntBE(number, Math.max(0, lengthBytes - 6), Math.min(6, lengthBytes))
    return Buffer.concat([Buffer.from([lengthBytes - 1]), nonce, tail])
  }
  const first = counter(plaintext.length)
  first[0] = (aad.length > 0 ? 0x40 : 0) | (7 << 3) | (lengthBytes - 1)
  const padded = (data: Buffer): Buffer => Buffer.concat([data, Buffer.alloc((16 - (data.length % 16)) % 16)])
  const head = aad.length > 0 ? padded(Buffer.concat([Buffer.from([0, aad.length]), aad])) : aad
  const input = Buffer.concat([first, head, padded(plaintext)])
  let mac: Buffer = Buffer.alloc(16)
  for (let at = 0; at < input.length; at += 16) mac = aes(xor(mac, input.subarray(at, at + 16)))
  const stream = Buffer.concat(
    Array.from({ length: Math.ceil(plaintext.length / 16) }, (_, at) => aes(counter(at + 1))),
  )
  return { ct: xor(plaintext, stream), tag: xor(mac, aes(counter(0))) }
}

function xor(one: Buffer, other: Buffer): Buffer {
  return Buffer.from(one.map((byte, at) => byte ^ (other[at] ?? 0)))
}
