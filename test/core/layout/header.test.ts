import { createDecipheriv, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { cipherNamed } from '../../../src/core/cipher/registry.ts'
import { isKvxError } from '../../../src/core/errors.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'
import { Secret } from '../../../src/core/secret.ts'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))
const text = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString('latin1')

function refusal(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    if (isKvxError(error, 'LAYOUT_INVALID')) return error.message.split('\n')[0] ?? ''
    throw error
  }
  return 'accepted'
}

describe('header', () => {
  test('is the bytes that it marks, as they stand in the value', () => {
    const layout = compileLayout('header(0x0101 lp32(keyid) u32be(version) lpv(nonce:4)) ct tag:2')
    const value = hex('0101000000036b657900000007040a0b0c0dc1c2c3eeff')
    const parts = layout.parse(value)
    expect(text(layout.header(parts))).toBe(text(value.subarray(0, 18)))
    expect(Buffer.from(layout.render(parts)).equals(value)).toBe(true)
    expect([...layout.partNames]).toEqual(['keyid', 'version', 'nonce', 'ct', 'tag'])
    expect(layout.hasPrefix(value)).toBe(true)
    expect(layout.hasPrefix(hex('0202'))).toBe(false)
  })

  test('has the new nonce once it was replaced', () => {
    const layout = compileLayout('header(0x01 nonce:2) ct')
    const parts = new Map([...layout.parse(hex('01aabbcc')), ['nonce', hex('0102')] as const])
    expect(layout.header(parts)).toEqual(hex('010102'))
    expect(layout.render(parts)).toEqual(hex('010102cc'))
  })

  test('stands inside an encoding and in a member too, and may hold bytes that are skipped', () => {
    const coded = compileLayout('"v1." base64(header(0x01 skip:2) nonce:2 ct)')
    const value = Buffer.from(`v1.${Buffer.from('01ffff0a0bcc', 'hex').toString('base64')}`)
    expect(coded.header(coded.parse(value))).toEqual(hex('01ffff'))
    const member = compileLayout(
      'json({"protected": header(base64url(json({"alg": "dir", ...}))), "ct": base64url(ct)})',
    )
    const segment = Buffer.from('{ "alg":"dir","kid":"7" }').toString('base64url')
    const document = Buffer.from(`{"ct":"AQID","protected":"${segment}"}`)
    expect(text(member.header(member.parse(document)))).toBe(segment)
  })

  test('of a layout without one is undefined', () => {
    const layout = compileLayout('nonce:2 ct')
    expect(layout.header(layout.parse(hex('010203')))).toBeUndefined()
  })

  test('is refused twice, nested, empty, and where nothing is read', () => {
    const layout = (source: string): string => refusal(() => compileLayout(source))
    expect(layout('header(nonce:2) header(ct)')).toContain('column 17: a header is marked already')
    expect(layout('header(header(nonce:2)) ct')).toContain('a header is marked already')
    expect(layout('header() ct')).toContain('header has nothing in it')
    expect(layout('header(nonce:2, ct)')).toContain('header takes one argument')
    expect(layout('header(ct) tag')).toContain('nobody can tell where ct ends')
    expect(layout('header ct')).toContain('a part named header is not known')
    expect(refusal(() => compileTemplate('header({org})'))).toContain('header(…) marks bytes of a layout')
    expect(refusal(() => compileTemplate('header {org}'))).toBe('accepted')
    expect(refusal(() => compileTemplate('u8(header)'))).toContain('header is bytes and no number')
    expect([...compileTemplate('header ct').partNames]).toEqual(['header', 'ct'])
  })
})

describe('a compact JWE', () => {
  const layout = compileLayout(
    'header(base64url(json({"alg": "dir", "enc": "A256GCM", ...}))) ".." base64url(nonce:12) "." base64url(ct) "." base64url(tag:16)',
  )
  const aad = compileTemplate('header')
  const cipher = cipherNamed('aes-256-gcm')
  const key = randomBytes(32)
  const segment = Buffer.from('{"alg":"dir","enc":"A256GCM","kid":"2026-11"}').toString('base64url')

  test('is sealed with its first segment as associated data, and opens for everybody else', () => {
    const fresh = new Map(layout.parse(Buffer.from(`${segment}..${'A'.repeat(16)}.AQID.${'A'.repeat(22)}`)))
    fresh.set('nonce', Uint8Array.from(randomBytes(12)))
    const header = layout.header(fresh)
    const context = { cell: () => null, newCell: () => null, part: () => header }
    const sealed = cipher.seal(
      cipher.prepare(Secret.copy(key)),
      Buffer.from('plain'),
      fresh,
      aad.render(context),
    )
    const [protectedHeader = '', empty, nonce = '', ct = '', tag = ''] = text(layout.render(sealed)).split(
      '.',
    )
    expect([protectedHeader, empty]).toEqual([segment, ''])
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64url'))
    decipher.setAAD(Buffer.from(protectedHeader, 'ascii')).setAuthTag(Buffer.from(tag, 'base64url'))
    const plaintext = Buffer.concat([decipher.update(Buffer.from(ct, 'base64url')), decipher.final()])
    expect(plaintext.toString()).toBe('plain')
  })
})
