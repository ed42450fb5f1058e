import { createCipheriv, createHmac, hkdfSync, pbkdf2Sync, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { CipherOptions } from '../../../src/core/cipher/cipher.ts'
import { cipherNamed } from '../../../src/core/cipher/registry.ts'
import { compileDerivation } from '../../../src/core/layout/derivation.ts'
import { compileLayout } from '../../../src/core/layout/layout.ts'
import { compileTemplate } from '../../../src/core/layout/template.ts'
import { Secret } from '../../../src/core/secret.ts'

// Formats that are widely used and of which there is no vector: sealed here as their descriptions say, with plain
// node:crypto, and opened by nothing but declarations.

const plaintext = Buffer.from('sk-live-51H0x-ünïcødé')

type Declared = {
  readonly layout: string
  readonly cipher: string
  readonly options?: CipherOptions
  readonly derive?: string
  readonly nonce?: string
  readonly aad?: string
}

function opened(declared: Declared, value: Buffer, configured: Buffer): string {
  const layout = compileLayout(declared.layout)
  const parts = new Map(layout.parse(value))
  expect(Buffer.from(layout.render(parts)).equals(value)).toBe(true)
  const context = {
    cell: () => null,
    newCell: () => null,
    part: (name: string) => (name === 'header' ? layout.header(parts) : parts.get(name)),
  }
  const derive = (source: string): Secret =>
    compileDerivation(source).derive({ key: Secret.copy(configured), ...context })
  if (declared.nonce !== undefined) {
    parts.set(
      'nonce',
      derive(declared.nonce).lend((bytes) => Uint8Array.from(bytes)),
    )
  }
  const cipher = cipherNamed(declared.cipher, declared.options)
  const key = cipher.prepare(
    declared.derive === undefined ? Secret.copy(configured) : derive(declared.derive),
  )
  const aad = declared.aad === undefined ? new Uint8Array() : compileTemplate(declared.aad).render(context)
  return Buffer.from(cipher.open(key, parts, aad) ?? Buffer.from('did not open')).toString()
}

function sealedBy(algorithm: string, key: Uint8Array, iv: Uint8Array, input = plaintext): Buffer {
  const cipher = createCipheriv(algorithm, key, iv)
  return Buffer.concat([cipher.update(input), cipher.final()])
}

function gcm(key: Uint8Array, iv: Buffer, aad = ''): { readonly ct: Buffer; readonly tag: Buffer } {
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  cipher.setAAD(Buffer.from(aad))
  return { ct: Buffer.concat([cipher.update(plaintext), cipher.final()]), tag: cipher.getAuthTag() }
}

const hmac = (hash: string, key: Uint8Array, ...pieces: readonly Uint8Array[]): Buffer =>
  createHmac(hash, key).update(Buffer.concat(pieces)).digest()

describe('a declaration alone opens', () => {
  const key = randomBytes(32)
  const nonce = randomBytes(12)
  const iv = randomBytes(16)
  const salt = randomBytes(32)

  test('a file of Ansible Vault', () => {
    const made = pbkdf2Sync('passphrase', salt, 10_000, 80, 'sha256')
    const padding = 16 - (plaintext.length % 16)
    const padded = Buffer.concat([plaintext, Buffer.alloc(padding, padding)])
    const ct = sealedBy('aes-256-ctr', made.subarray(0, 32), made.subarray(64), padded)
    const mac = hmac('sha256', made.subarray(32, 64), ct)
    const inner = [salt, mac, ct].map((piece) => piece.toString('hex')).join('\n')
    const lines =
      Buffer.from(inner)
        .toString('hex')
        .match(/.{1,80}/g) ?? []
    const value = Buffer.from(`$ANSIBLE_VAULT;1.1;AES256\n${lines.join('\n')}\n`)
    const stretched = 'pbkdf2-sha256(salt=salt, iterations=10000, length=80)'
    const declared: Declared = {
      layout: '"$ANSIBLE_VAULT;1.1;AES256\\n" lines(hex(hex(salt:32) "\\n" hex(mac:32) "\\n" hex(ct)), 80)',
      cipher: 'aes-256-ctr-hmac-sha256',
      options: { mac: 'ct', macKey: 'slice(key, 32, 32)', cipherKey: 'slice(key, 0, 32)' },
      derive: stretched,
      nonce: `slice(${stretched}, 64, 16)`,
    }
    expect(opened(declared, value, Buffer.from('passphrase')).slice(0, -padding)).toBe(String(plaintext))
    expect(opened(declared, value, Buffer.from('passphrasf'))).toBe('did not open')
  })

  test('a value of defuse/php-encryption', () => {
    const [macKey, cipherKey] = ['Authentication', 'Encryption'].map((use) =>
      Buffer.from(hkdfSync('sha256', key, salt, `DefusePHP|V2|KeyFor${use}`, 32)),
    )
    const head = Buffer.concat([Buffer.from('def50200', 'hex'), salt, iv])
    const ct = sealedBy('aes-256-ctr', cipherKey ?? key, iv)
    const mac = hmac('sha256', macKey ?? key, head, ct)
    const info = (use: string): string => `hkdf-sha256(salt=salt, info="DefusePHP|V2|KeyFor${use}")`
    const declared: Declared = {
      layout: 'hex(0xdef50200 salt:32 nonce:16 ct mac:32)',
      cipher: 'aes-256-ctr-hmac-sha256',
      derive: `${info('Authentication')} ${info('Encryption')}`,
      options: {
        mac: '0xdef50200 salt nonce ct',
        macKey: 'slice(key, 0, 32)',
        cipherKey: 'slice(key, 32, 32)',
      },
    }
    const value = Buffer.from(Buffer.concat([head, ct, mac]).toString('hex'))
    expect(opened(declared, value, key)).toBe(String(plaintext))
    expect(opened(declared, value, randomBytes(32))).toBe('did not open')
  })

  test('a value of ASP.NET data protection', () => {
    const [guid, modifier] = [randomBytes(16), randomBytes(16)]
    const magic = Buffer.from('09f0c9f0', 'hex')
    const context = Buffer.concat([Buffer.from('a context header'), modifier])
    const label = Buffer.from('purpose')
    const bits = Buffer.from('00000200', 'hex')
    const made = hmac('sha512', key, Buffer.from('00000001', 'hex'), label, Buffer.alloc(1), context, bits)
    const ct = sealedBy('aes-256-cbc', made.subarray(0, 32), iv)
    const mac = hmac('sha256', made.subarray(32), iv, ct)
    const declared: Declared = {
      layout: 'base64url(0x09f0c9f0 keyid:16 salt:16 nonce:16 ct mac:32)',
      cipher: 'aes-256-cbc-hmac-sha256',
      derive: 'hmac-sha512(u32be(1) "purpose" 0x00 "a context header" salt u32be(512))',
      options: { mac: 'nonce ct', macKey: 'slice(key, 32)', cipherKey: 'slice(key, 0, 32)' },
    }
    const value = Buffer.concat([magic, guid, modifier, iv, ct, mac]).toString('base64url')
    expect(opened(declared, Buffer.from(value), key)).toBe(String(plaintext))
  })

  test('a cipher string of Bitwarden', () => {
    const [cipherKey, macKey] = [key, salt]
    const ct = sealedBy('aes-256-cbc', cipherKey, iv)
    const pieces = [iv, ct, hmac('sha256', macKey, iv, ct)].map((piece) => piece.toString('base64'))
    const declared: Declared = {
      layout: '"2." base64(nonce:16) "|" base64(ct) "|" base64(mac:32)',
      cipher: 'aes-256-cbc-hmac-sha256',
      options: { mac: 'nonce ct', macKey: 'slice(key, 32, 32)', cipherKey: 'slice(key, 0, 32)' },
    }
    const value = Buffer.from(`2.${pieces.join('|')}`)
    expect(opened(declared, value, Buffer.concat([cipherKey, macKey]))).toBe(String(plaintext))
  })

  test('a field of Elixir’s Cloak', () => {
    const { ct, tag } = gcm(key, nonce, 'AES256GCM')
    const label = Buffer.from('AES.GCM.V1')
    const value = Buffer.concat([Buffer.of(1, label.length), label, nonce, tag, ct])
    const declared: Declared = {
      layout: '0x01 lp8(keyid) nonce:12 tag:16 ct',
      cipher: 'aes-256-gcm',
      aad: '"AES256GCM"',
    }
    expect(opened(declared, value, key)).toBe(String(plaintext))
  })

  test('a message of Rails’ MessageEncryptor, and a column of attr_encrypted', () => {
    const secret = pbkdf2Sync('secret_key_base', 'authenticated encrypted cookie', 1000, 32, 'sha1')
    const message = gcm(secret, nonce)
    const text = [message.ct, nonce, message.tag].map((piece) => piece.toString('base64')).join('--')
    expect(
      opened(
        {
          layout: 'base64(ct) "--" base64(nonce:12) "--" base64(tag:16)',
          cipher: 'aes-256-gcm',
          derive: 'pbkdf2-sha1(salt="authenticated encrypted cookie", iterations=1000)',
        },
        Buffer.from(text),
        Buffer.from('secret_key_base'),
      ),
    ).toBe(String(plaintext))
    const { ct, tag } = gcm(key, nonce)
    const packed = Buffer.concat([ct, tag])
      .toString('base64')
      .replace(/.{1,60}/g, '$&\n')
    const layout = 'lines(base64(nonce:12), 60) "|" lines(base64(ct tag:16), 60)'
    const value = Buffer.from(`${nonce.toString('base64')}\n|${packed}`)
    expect(opened({ layout, cipher: 'aes-256-gcm' }, value, key)).toBe(String(plaintext))
  })

  test('a state of OpenTofu, whose salt and rounds lie in a document in base64 in the document', () => {
    const made = pbkdf2Sync('passphrase', salt, 2000, 32, 'sha512')
    const { ct, tag } = gcm(made, nonce)
    const meta = Buffer.from(
      JSON.stringify({
        salt: salt.toString('base64'),
        iterations: 2000,
        hash_function: 'sha512',
        length: 32,
      }),
    )
    const value = Buffer.from(
      JSON.stringify({
        serial: 1,
        meta: { 'key_provider.pbkdf2.mine': meta.toString('base64') },
        encrypted_data: Buffer.concat([nonce, ct, tag]).toString('base64'),
        encryption_version: 'v0',
      }),
    )
    const declared: Declared = {
      layout:
        'json({"meta": {"key_provider.pbkdf2.mine": base64(json({"salt": base64(salt), "iterations": number(iterations), ...}))}, ' +
        '"encrypted_data": base64(nonce:12 ct tag:16), ...})',
      cipher: 'aes-256-gcm',
      derive: 'pbkdf2-sha512(salt=salt, iterations=iterations)',
    }
    expect(opened(declared, value, Buffer.from('passphrase'))).toBe(String(plaintext))
  })

  test('a compact JWE of A256CBC-HS512 with its header as associated data', () => {
    const both = randomBytes(64)
    const header = Buffer.from('{"alg":"dir","enc":"A256CBC-HS512"}').toString('base64url')
    const ct = sealedBy('aes-256-cbc', both.subarray(32), iv)
    const length = Buffer.alloc(8)
    length.writeBigUInt64BE(BigInt(8 * header.length))
    const mac = hmac('sha512', both.subarray(0, 32), Buffer.from(header), iv, ct, length).subarray(0, 32)
    const value = [header, '', ...[iv, ct, mac].map((piece) => piece.toString('base64url'))].join('.')
    const declared: Declared = {
      layout:
        'header(base64url(json({"alg": "dir", ...}))) ".." base64url(nonce:16) "." base64url(ct) "." base64url(tag:32)',
      cipher: 'a256cbc-hs512',
      aad: 'header',
    }
    expect(opened(declared, Buffer.from(value), both)).toBe(String(plaintext))
  })

  test('what MySQL’s AES_ENCRYPT and Jasypt wrote', () => {
    const folded = Buffer.alloc(16)
    Buffer.from('a passphrase of some length').forEach(
      (byte, at) => (folded[at % 16] = (folded[at % 16] ?? 0) ^ byte),
    )
    const cipher = createCipheriv('aes-128-ecb', folded, null)
    const mysql = Buffer.concat([cipher.update(plaintext), cipher.final()])
      .toString('hex')
      .toUpperCase()
    expect(
      opened(
        { layout: 'hexupper(ct)', cipher: 'aes-128-ecb', derive: 'xorfold(key, 16)' },
        Buffer.from(mysql),
        Buffer.from('a passphrase of some length'),
      ),
    ).toBe(String(plaintext))
    const made = pbkdf2Sync('passphrase', salt.subarray(0, 16), 1000, 32, 'sha512')
    const jasypt = Buffer.concat([salt.subarray(0, 16), iv, sealedBy('aes-256-cbc', made, iv)]).toString(
      'base64',
    )
    expect(
      opened(
        {
          layout: '"ENC(" base64(salt:16 nonce:16 ct) ")"',
          cipher: 'aes-256-cbc',
          derive: 'pbkdf2-sha512(salt=salt, iterations=1000)',
        },
        Buffer.from(`ENC(${jasypt})`),
        Buffer.from('passphrase'),
      ),
    ).toBe(String(plaintext))
  })
})
