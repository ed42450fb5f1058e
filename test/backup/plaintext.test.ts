import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assert, property, uint8Array } from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { base64Length, decodeBase64, writeBase64 } from '../../src/backup/base64.ts'
import {
  isReceiptOf,
  makeBackupId,
  makeReceipt,
  normalReceipt,
  receiptDigest,
} from '../../src/backup/codes.ts'
import { encodeBackupText, parseBackupText } from '../../src/backup/plaintext.ts'
import { isKvxError } from '../../src/core/errors.ts'
import { checkValueOf, fingerprintOf } from '../../src/core/fingerprint.ts'
import { Secret } from '../../src/core/secret.ts'

const folder = mkdtempSync(join(tmpdir(), 'kvx-text-'))
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

const key = randomBytes(32)
const content = {
  name: 'master',
  version: 2,
  purpose: 'kek',
  created: '2026-01-02T03:04:05Z',
  material: Secret.copy(key),
  receipt: '20QH-UMYA-NKS3-6YQF'.replace('U', '7'),
} as const

function textOf(): string {
  return encodeBackupText(content).toString('utf8')
}

describe('the text of a backup', () => {
  it('says in plain lines what it is, and gives back the same key', () => {
    const lines = textOf().split('\n')
    const fingerprint = fingerprintOf(content.material)
    expect(lines.slice(0, 12)).toEqual([
      'kvx-kek-backup v1',
      'key: master',
      'version: 2',
      'purpose: kek',
      'algorithm: symmetric key of 256 bits',
      'created: 2026-01-02T03:04:05Z',
      `fingerprint: ${fingerprint}`,
      `check-value: ${checkValueOf(fingerprint)}`,
      'encoding: base64 (RFC 4648, with padding) of the 32 raw bytes of the key',
      `key-base64: ${key.toString('base64')}`,
      'receipt: 20QH-7MYA-NKS3-6YQF',
      '',
    ])
    const parsed = parseBackupText(encodeBackupText(content))
    expect(parsed.material.equals(content.material)).toBe(true)
    expect(parsed).toMatchObject({
      name: 'master',
      version: 2,
      purpose: 'kek',
      fingerprint,
      receipt: content.receipt,
    })
  })

  it('gives back keys of other lengths too', () => {
    assert(
      property(uint8Array({ minLength: 1, maxLength: 512 }), (bytes) => {
        const material = Secret.copy(bytes)
        return parseBackupText(encodeBackupText({ ...content, material })).material.equals(material)
      }),
      { numRuns: 100 },
    )
  })

  it('holds commands that get the key and its fingerprint without kvx and without gpg’s help', () => {
    const commands = textOf().split('\n')
    const extract = commands
      .find((line) => line.includes('gpg --decrypt'))
      ?.replace(/^ *gpg --decrypt BACKUP.asc \|/, '')
    const check = commands.find((line) => line.includes('python3'))
    const script = `set -e; cat > text; cat text | ${extract ?? 'false'}; cat key.raw; ${check ?? 'false'} >&2`
    const run = spawnSync('sh', ['-c', script], { cwd: folder, input: encodeBackupText(content) })
    expect(run.stdout.equals(key)).toBe(true)
    expect(run.stderr.toString().trim()).toBe(fingerprintOf(content.material))
  })

  const other = randomBytes(32).toString('base64')
  const edits: [string, (text: string) => string][] = [
    ['another first line', (text) => text.replace('backup v1', 'backup v2')],
    ['a byte order mark', (text) => `\uFEFF${text}`],
    ['a missing line', (text) => text.replace(/^created: .*\n/m, '')],
    ['swapped lines', (text) => text.replace(/^(key: .*)\n(version: .*)$/m, '$2\n$1')],
    ['an added line', (text) => text.replace('\nreceipt:', '\nnote: x\nreceipt:')],
    ['a line behind the receipt', (text) => text.replace(/(receipt: .*)\n\n/, '$1\nnote: x\n\n')],
    ['a name that is a path', (text) => text.replace('key: master', 'key: ../master')],
    ['version 0', (text) => text.replace('version: 2', 'version: 0')],
    ['version 02', (text) => text.replace('version: 2', 'version: 02')],
    ['an unknown purpose', (text) => text.replace('purpose: kek', 'purpose: KEK')],
    ['a time that is none', (text) => text.replace('2026-01-02T', 'tomorrow ')],
    ['another key', (text) => text.replace(/key-base64: .*/, `key-base64: ${other}`)],
    ['another fingerprint', (text) => text.replace(/fingerprint: ./, 'fingerprint: x')],
    ['another check value', (text) => text.replace(/check-value: .*/, 'check-value: 0000000000')],
    ['another length', (text) => text.replace('of the 32 raw', 'of the 31 raw')],
    ['a key without padding', (text) => text.replace(/(key-base64: .*)=\n/, '$1\n')],
    ['a space behind the key', (text) => text.replace(/(key-base64: .*)\n/, '$1 \n')],
    ['Windows line ends', (text) => text.replaceAll('\n', '\r\n')],
    ['a second key', (text) => `${text}\nkey-base64: ${other}\n`],
    ['a receipt in another form', (text) => text.replace('20QH-7MYA', '20qh-7mya')],
    ['a receipt that is too short', (text) => text.replace('-6YQF', '')],
    ['no end', (text) => text.slice(0, text.indexOf('receipt:') + 5)],
    ['nothing', () => ''],
  ]
  it.each(edits)('is refused with %s, without a word of what was read', (_, edit) => {
    const text = edit(textOf())
    expect(text).not.toBe(textOf())
    let error: unknown
    try {
      parseBackupText(Buffer.from(text))
    } catch (caught) {
      error = caught
    }
    expect(isKvxError(error, 'BACKUP_UNUSABLE')).toBe(true)
    expect(JSON.stringify(error) + String(error)).not.toContain(other.slice(0, 8))
    expect(JSON.stringify(error) + String(error)).not.toContain(key.toString('base64').slice(0, 8))
  })
})

describe('base64 of bytes', () => {
  it('equals that of Node for every length', () => {
    for (let size = 1; size < 100; size += 1) {
      const bytes = randomBytes(size)
      const text = Buffer.alloc(base64Length(size))
      expect(writeBase64(bytes, text, 0)).toBe(text.length)
      expect(text.toString()).toBe(bytes.toString('base64'))
      expect(decodeBase64(text)?.equals(bytes)).toBe(true)
    }
  })

  it.each([
    '',
    'A',
    'AA',
    'AAA',
    'AB==',
    'AAB=',
    'A===',
    '====',
    'AA=A',
    'AA-_',
    'AA A',
    ' AAAA',
    'AAAA\n',
    '=AAA',
  ])('refuses %j', (text) => {
    expect(decodeBase64(Buffer.from(text))).toBeUndefined()
  })
})

describe('a receipt code', () => {
  it('has 80 random bits in four groups and is known by its digest', () => {
    const codes = new Set(Array.from({ length: 1000 }, makeReceipt))
    expect(codes.size).toBe(1000)
    for (const code of codes) {
      expect(code).toMatch(/^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$/)
      expect(isReceiptOf(code, receiptDigest(code))).toBe(true)
    }
    const signs = new Set([...codes].join('').replaceAll('-', ''))
    expect(signs.size).toBe(32)
    expect(makeBackupId()).toMatch(/^[0-9A-HJKMNP-TV-Z]{8}$/)
  })

  it('is told from every code that differs in one character', () => {
    const code = makeReceipt()
    const digest = receiptDigest(code)
    for (let at = 0; at < code.length; at += 1) {
      if (code[at] === '-') continue
      const wrong = `${code.slice(0, at)}${code[at] === '7' ? '8' : '7'}${code.slice(at + 1)}`
      expect(isReceiptOf(wrong, digest)).toBe(false)
    }
  })

  it('is taken as people type it', () => {
    const digest = receiptDigest('0011-ABCD-00FF-1Z1Z')
    for (const typed of [
      '0011ABCD00FF1Z1Z',
      ' oOiL-abcd-oOff-lZiZ ',
      '0011 abcd 00ff 1z1z',
      '0011–ABCD–00FF–1Z1Z\n',
    ]) {
      expect(isReceiptOf(typed, digest), typed).toBe(true)
      expect(normalReceipt(typed)).toBe('0011-ABCD-00FF-1Z1Z')
    }
  })

  it.each(['', '0011', '0011-ABCD-00FF-1Z1U', '0011-ABCD-00FF-1Z1Z-1', '0011-ABCD-00FF-1Z1ü'])(
    'is not %j',
    (typed) => {
      expect(() => isReceiptOf(typed, receiptDigest(makeReceipt()))).toThrow(/16 letters and digits/)
    },
  )
})
