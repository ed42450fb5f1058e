import { createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { keyWrapNamed, keyWrapNames, prepareWrappingKey } from '../../../src/core/aead/key-wrap.ts'
import { Secret } from '../../../src/core/secret.ts'
import { bytesOfCell, objectOf, vectorNamed } from '../layout/vector-reader.ts'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

test.each([
  // RFC 3394, 4.1 and 4.6; RFC 5649, 6.
  [
    'aes-128-kw',
    '000102030405060708090A0B0C0D0E0F',
    '00112233445566778899AABBCCDDEEFF',
    '1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5',
  ],
  [
    'aes-256-kw',
    '000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F',
    '00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F',
    '28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21',
  ],
  [
    'aes-192-kwp',
    '5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8',
    'c37b7e6492584340bed12207808941155068f738',
    '138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a',
  ],
  [
    'aes-192-kwp',
    '5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8',
    '466f7250617369',
    'afbeb0f07dfbf5419200f2ccb50bb24f',
  ],
])('%s is that of its standard', (name, key, material, wrapped) => {
  const wrap = keyWrapNamed(name)
  const prepared = prepareWrappingKey(wrap, Secret.copy(hex(key)))
  expect(Buffer.from(wrap.wrap(prepared, hex(material))).equals(hex(wrapped))).toBe(true)
  expect(hex(material).equals(wrap.unwrap(prepared, hex(wrapped)) ?? hex(''))).toBe(true)
})

test.each(keyWrapNames)('%s opens what it wrapped, and nothing in which a bit differs', (name) => {
  const wrap = keyWrapNamed(name)
  const prepared = prepareWrappingKey(wrap, Secret.take(randomBytes(wrap.keyLength)))
  const materials = fc.integer({ min: 2, max: 12 }).map((blocks) => randomBytes(8 * blocks))
  fc.assert(
    fc.property(materials, fc.nat(), (material, bit) => {
      const wrapped = Buffer.from(wrap.wrap(prepared, material))
      expect(material.equals(wrap.unwrap(prepared, wrapped) ?? hex(''))).toBe(true)
      const at = (bit >> 3) % wrapped.length
      wrapped[at] = (wrapped[at] ?? 0) ^ (1 << (bit & 7))
      expect(wrap.unwrap(prepared, wrapped)).toBeUndefined()
    }),
  )
})

test('a data key that ServerPilot wrapped moves to a second key, which plain node:crypto opens', () => {
  const vector = vectorNamed('29-serverpilot-aeskw')
  const wrap = keyWrapNamed('aes-256-kw')
  const kek = prepareWrappingKey(wrap, Secret.take(bytesOfCell(vector['kek'])))
  const dek = wrap.unwrap(kek, bytesOfCell(objectOf(vector['row'])['encrypted_dek'])) ?? hex('')
  expect(bytesOfCell(vector['dek']).equals(dek)).toBe(true)
  const second = randomBytes(32)
  const wrapped = wrap.wrap(prepareWrappingKey(wrap, Secret.copy(second)), dek)
  const decipher = createDecipheriv('id-aes256-wrap', second, hex('a6a6a6a6a6a6a6a6'))
  expect(Buffer.concat([decipher.update(wrapped), decipher.final()]).equals(dek)).toBe(true)
  expect(wrap.unwrap(kek, wrapped)).toBeUndefined()
})

test('a data key under an initial value of its own opens with that and with no other', () => {
  const vector = vectorNamed('19-medguard-kwp')
  const wrap = keyWrapNamed('aes-256-kwp')
  const uid = bytesOfCell(vector['kek'])
  const kek = Secret.take(Buffer.from(hkdfSync('sha256', uid, 'medguard-kek-salt', 'medguard-kek', 32)))
  const prepared = prepareWrappingKey(wrap, kek)
  const wrapped = bytesOfCell(objectOf(vector['row'])['wrapped_key'])
  const dek = wrap.unwrap(prepared, wrapped, hex('a6a6a6a6')) ?? hex('')
  expect(bytesOfCell(vector['dek']).equals(dek)).toBe(true)
  expect(wrap.unwrap(prepared, wrapped)).toBeUndefined()
  expect(Buffer.from(wrap.wrap(prepared, dek, hex('a6a6a6a6'))).equals(wrapped)).toBe(true)
})

test('refuses lengths that no key and no wrapped key has', () => {
  const kw = keyWrapNamed('aes-256-kw')
  const prepared = prepareWrappingKey(kw, Secret.take(randomBytes(32)))
  for (const length of [0, 8, 17])
    expect(() => kw.wrap(prepared, new Uint8Array(length))).toThrow(/can't wrap a key of/)
  for (const length of [0, 8, 16, 25])
    expect(() => kw.unwrap(prepared, new Uint8Array(length))).toThrow(/makes no wrapped key/)
  expect(() => kw.unwrap(prepared, new Uint8Array(24), new Uint8Array(4))).toThrow(/has 8 bytes, not 4/)
  expect(() => prepareWrappingKey(kw, Secret.take(randomBytes(16)))).toThrow(/aes-256-kw takes 32/)
  expect(() => keyWrapNamed('aes-512-kw')).toThrow(/does not know/)
})
