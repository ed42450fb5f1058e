import { describe, expect, it } from 'vitest'
import {
  type BackupManifest,
  canonicalManifest,
  encodeManifest,
  parseManifest,
  verifyManifest,
} from '../../src/backup/manifest.ts'
import { makeAuditKey } from './audit-key.ts'

const home = makeAuditKey()
const manifest: BackupManifest = {
  schema: 'kvx.backup.manifest/1',
  id: '7K3M9QZ2',
  name: 'master',
  version: 2,
  purpose: 'kek',
  fingerprint: 'ab'.repeat(32),
  checkValue: 'ABABABABAB',
  created: '2026-01-02T03:04:05Z',
  file: 'master.v2.7K3M9QZ2.asc',
  sha256: 'cd'.repeat(32),
  recipients: [
    { fingerprint: 'A'.repeat(40), userId: 'Äli <a@b>', subkey: 'B'.repeat(40), expires: null },
    { fingerprint: 'C'.repeat(40), userId: '', subkey: 'D'.repeat(40), expires: '2027-01-01T00:00:00Z' },
  ],
  receiptSha256: 'ef'.repeat(32),
  state: 'tested',
  testedAt: '2026-01-02T03:04:06Z',
  testedWith: ['B'.repeat(40)],
  confirmedAt: null,
  confirmedBy: null,
  kvxVersion: '1.0.0',
  auditKeyFingerprint: home.signer.publicKeyFingerprint,
}

type Json = Record<string, unknown>

function edited(edit: (json: Json) => void): Buffer {
  const json = JSON.parse(encodeManifest(manifest, home.signer).toString()) as Json
  edit(json)
  return Buffer.from(JSON.stringify(json))
}

/** Each property with a value that is as good as the old one, so that only the signature can tell. */
const others: Json = {
  id: '8K3M9QZ2',
  name: 'other',
  version: 3,
  purpose: 'data',
  created: '2026-01-02T03:04:06Z',
  file: 'other.v2.7K3M9QZ2.asc',
  sha256: 'ce'.repeat(32),
  recipients: manifest.recipients.slice(1),
  receiptSha256: 'ee'.repeat(32),
  state: 'confirmed',
  testedAt: null,
  testedWith: [],
  confirmedAt: '2026-01-02T03:04:05Z',
  confirmedBy: 'somebody',
  kvxVersion: '1.0.1',
}

describe('a manifest', () => {
  it('comes back as it was written, with a signature that holds', () => {
    const signed = parseManifest(encodeManifest(manifest, home.signer), 'm.json')
    expect(signed.manifest).toEqual(manifest)
    expect(verifyManifest(signed, home.verify)).toBe('valid')
  })

  it('is signed as JSON with sorted properties and without white space, however its file is laid out', () => {
    const canonical = Buffer.from(canonicalManifest(manifest)).toString()
    expect(canonical).toMatch(
      /^\{"auditKeyFingerprint":"[0-9a-f]+","checkValue":"ABABABABAB","confirmedAt":null,/,
    )
    expect(canonical).toContain('"recipients":[{"expires":null,"fingerprint":"AAAA')
    expect(canonical).not.toContain('signature')
    const turned = edited((json) => {
      for (const key of Object.keys(json).reverse()) {
        const value = json[key]
        delete json[key]
        json[key] = value
      }
    })
    expect(verifyManifest(parseManifest(turned, 'm.json'), home.verify)).toBe('valid')
  })

  it.each(Object.keys(others))('shows that %s was changed after it was signed', (field) => {
    const changed = parseManifest(
      edited((json) => {
        expect(json[field]).not.toEqual(others[field])
        json[field] = others[field]
      }),
      'm.json',
    )
    expect(verifyManifest(changed, home.verify)).toBe('invalid')
  })

  it('shows a changed fingerprint or recipient, and a changed signature', () => {
    const edits: ((json: Json) => void)[] = [
      (json) => Object.assign(json, { fingerprint: `${'ab'.repeat(31)}aa` }),
      (json) => Object.assign((json['recipients'] as Json[])[0] ?? {}, { userId: 'Mallory' }),
      (json) => Object.assign((json['recipients'] as Json[])[1] ?? {}, { expires: null }),
      (json) => Object.assign(json, { signature: Buffer.alloc(64, 1).toString('base64') }),
    ]
    for (const edit of edits) {
      expect(verifyManifest(parseManifest(edited(edit), 'm.json'), home.verify)).toBe('invalid')
    }
  })

  it('is unsigned without a signature, and unknown when another home signed it', () => {
    const unsigned = parseManifest(
      edited((json) => {
        delete json['signature']
      }),
      'm.json',
    )
    expect(verifyManifest(unsigned, home.verify)).toBe('unsigned')
    const foreign = parseManifest(encodeManifest(manifest, makeAuditKey().signer), 'm.json')
    expect(verifyManifest(foreign, home.verify)).toBe('unknown')
    expect(verifyManifest(foreign, undefined)).toBe('unknown')
  })

  const broken: [string, (json: Json) => void][] = [
    ['another schema', (json) => Object.assign(json, { schema: 'kvx.backup.manifest/2' })],
    ['an unknown property', (json) => Object.assign(json, { key: 'x' })],
    [
      'an unknown property of a recipient',
      (json) => Object.assign((json['recipients'] as Json[])[0] ?? {}, { x: 1 }),
    ],
    ['a path as its file', (json) => Object.assign(json, { file: '../../etc/shadow' })],
    ['a path as its name', (json) => Object.assign(json, { name: 'a/b' })],
    [
      'an escape sequence in a user id',
      (json) => Object.assign((json['recipients'] as Json[])[0] ?? {}, { userId: '\u001B[2J' }),
    ],
    ['a check value of another key', (json) => Object.assign(json, { checkValue: '0000000000' })],
    ['version 0', (json) => Object.assign(json, { version: 0 })],
    ['a version that is a string', (json) => Object.assign(json, { version: '2' })],
    ['recipients that are no list', (json) => Object.assign(json, { recipients: {} })],
    ['a recipient that is null', (json) => Object.assign(json, { recipients: [null] })],
    ['an unknown state', (json) => Object.assign(json, { state: 'good' })],
    ['a signature that is no text', (json) => Object.assign(json, { signature: 1 })],
    ['a missing property', (json) => delete json['sha256']],
  ]
  it.each(broken)('is refused with %s', (_, edit) => {
    expect(() => parseManifest(edited(edit), 'm.json')).toThrow(/cannot read the manifest m\.json/)
  })

  it.each(['', 'null', '[]', '"x"', '{', '{"a":1,}', '\uFFFF'])('is refused where the file is %j', (text) => {
    expect(() => parseManifest(Buffer.from(text), 'm.json')).toThrow(/cannot read the manifest m\.json/)
  })
})
