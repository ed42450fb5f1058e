import { describe, expect, test } from 'vitest'
import { decodeKey, type KeyEncoding, type KeyOptions } from '../../src/core/key-encoding.ts'
import { base64Text, fault, hexText, imports, key, urlText } from './key-samples.ts'

function decoded(bytes: Uint8Array | string, encoding: KeyEncoding, options: KeyOptions = {}): string {
  const { material, warnings } = decodeKey(Buffer.from(bytes), encoding, options)
  return [material.lend((own) => own.toString('hex')), ...warnings.map((warning) => warning.code)].join(' ')
}

describe('a key', () => {
  test.each<readonly [string, Uint8Array | string, KeyEncoding, string]>([
    ['32 raw bytes', key, 'raw', hexText],
    ['hex', hexText, 'hex', hexText],
    ['hex in upper case', hexText.toUpperCase(), 'hex', hexText],
    [
      'ascii that begins with a brace',
      '{"[a=b#c\'d]"e}',
      'ascii',
      Buffer.from('{"[a=b#c\'d]"e}').toString('hex'),
    ],
    ['hex in mixed case', hexText.replace('e', 'E').replace('b', 'B'), 'hex', hexText],
    ['base64', base64Text, 'base64', hexText],
    ['base64 and a line break', `${base64Text}\n`, 'base64', hexText],
    ['base64 and a line break of Windows', `${base64Text}\r\n`, 'base64', `${hexText} KEY_CRLF`],
    ['base64url', urlText, 'base64url', hexText],
    ['base64url with padding', `${urlText}=`, 'base64url', `${hexText} KEY_BASE64URL_PADDED`],
    [
      'ascii',
      'correct horse battery staple 42!',
      'ascii',
      Buffer.from('correct horse battery staple 42!').toString('hex'),
    ],
    [
      'ascii that looks like hex',
      hexText.slice(0, 32),
      'ascii',
      `${Buffer.from(hexText.slice(0, 32)).toString('hex')} KEY_LOOKS_ENCODED`,
    ],
  ])('is accepted as %s', (_, bytes, encoding, expected) => {
    expect(decoded(bytes, encoding, { expectLength: { min: 14, max: 32 } })).toBe(expected)
  })

  test('may have other lengths where they are allowed', () => {
    expect(decoded(key.subarray(0, 16), 'raw', { expectLength: imports })).toBe(hexText.slice(0, 32))
    expect(decoded(key.subarray(0, 24).toString('base64'), 'base64', { expectLength: 24 })).toBe(
      hexText.slice(0, 48),
    )
    expect(fault(key.subarray(0, 15), 'raw', { expectLength: imports })).toEqual([
      'length',
      'the key has 15 bytes, 16 to 1024 are allowed',
    ])
    expect(fault(Buffer.alloc(1025, 200), 'raw', { expectLength: imports })[0]).toBe('length')
  })

  test.each<readonly [string, Uint8Array | string, KeyEncoding, string, string]>([
    ['nothing', '', 'base64', 'INPUT_EMPTY', 'the key is empty'],
    ['nothing, raw', '', 'raw', 'INPUT_EMPTY', 'the key is empty'],
    ['an empty line', '\r\n', 'hex', 'INPUT_EMPTY', 'the key is an empty line'],
    ['31 raw bytes', key.subarray(1), 'raw', 'length', 'the key has 31 bytes, 32 are expected'],
    [
      '32 raw bytes declared base64',
      key,
      'base64',
      'not-ascii',
      'character 1 of the key is not ASCII (look-alikes of digits and letters are not digits and letters)',
    ],
    [
      '64 bytes',
      Buffer.concat([key, key]).toString('base64'),
      'base64',
      'length',
      'the key has 64 bytes, 32 are expected',
    ],
    [
      'a raw key and a line break',
      Buffer.concat([key, Buffer.from('\n')]),
      'raw',
      'line-breaks',
      'the raw key ends in a line break, which would be a part of it',
    ],
    ['a leading space', ` ${base64Text}`, 'base64', 'leading-space', 'the key begins with a space'],
    ['a trailing space', `${base64Text} \n`, 'base64', 'trailing-space', 'the key ends in a space'],
    ['a leading tab', `\t${hexText}`, 'hex', 'leading-space', 'the key begins with a space'],
    [
      'two line breaks',
      `${base64Text}\n\n`,
      'base64',
      'line-breaks',
      'the key has empty lines around it; one line break at the end is allowed',
    ],
    [
      'a leading line break',
      `\n${base64Text}`,
      'base64',
      'line-breaks',
      'the key has empty lines around it; one line break at the end is allowed',
    ],
    [
      'a byte order mark',
      `\ufeff${base64Text}`,
      'base64',
      'byte-order-mark',
      'the key begins with a byte order mark of UTF-8',
    ],
    [
      'a byte order mark of UTF-16',
      Buffer.from(`\ufeff${hexText}`, 'utf16le'),
      'hex',
      'byte-order-mark',
      'the key begins with a byte order mark of UTF-16LE',
    ],
    [
      'a byte order mark declared raw',
      `\ufeff${base64Text}`,
      'raw',
      'byte-order-mark',
      'the key begins with a byte order mark of UTF-8',
    ],
    [
      'no padding',
      base64Text.slice(0, -1),
      'base64',
      'no-padding',
      'the padding (=) of the 43 characters is missing or wrong',
    ],
    [
      'too much padding',
      `${base64Text}==`,
      'base64',
      'no-padding',
      'the padding (=) of the 46 characters is missing or wrong',
    ],
    [
      'data behind the padding',
      `${base64Text.slice(0, 23)}=${base64Text.slice(23)}`,
      'base64',
      'after-padding',
      'character 24 of the key is padding and digits follow it',
    ],
    [
      'both alphabets',
      '+_'.repeat(21) + 'A=',
      'base64',
      'mixed-alphabets',
      'the key mixes the two alphabets of base64 (+ / with - _)',
    ],
    [
      'the other alphabet',
      urlText.includes('-') || urlText.includes('_') ? `${urlText}=` : '',
      'base64',
      'other-encoding',
      'the key is written in base64url, not in base64',
    ],
    [
      'the other alphabet, the other way',
      base64Text,
      'base64url',
      'other-encoding',
      'the key is written in base64, not in base64url',
    ],
    [
      'a foreign character',
      `${base64Text.slice(0, 10)}!${base64Text.slice(11)}`,
      'base64',
      'character',
      'character 11 of the key is no digit of base64',
    ],
    [
      'bits that no encoder writes',
      `${base64Text.slice(0, -2)}${base64Text.at(-2) === 'x' ? 'y' : 'x'}=`,
      'base64',
      'spare-bits',
      'the last digit of the key has bits that no encoder writes: it was changed',
    ],
    [
      'base64 twice',
      Buffer.from(base64Text).toString('base64'),
      'base64',
      'encoded-twice',
      'the key is encoded twice: base64 around base64',
    ],
    [
      'base64 twice, with a line break inside',
      Buffer.from(`${base64Text}\n`).toString('base64'),
      'base64',
      'encoded-twice',
      'the key is encoded twice: base64 around base64',
    ],
    [
      'base64 of hex',
      Buffer.from(hexText).toString('base64'),
      'base64',
      'encoded-twice',
      'the key is encoded twice: base64 around hex',
    ],
    [
      'hex of base64',
      Buffer.from(base64Text).toString('hex'),
      'hex',
      'encoded-twice',
      'the key is encoded twice: hex around base64',
    ],
    ['hex declared base64', hexText, 'base64', 'other-encoding', 'the key is written in hex, not in base64'],
    ['base64 declared hex', base64Text, 'hex', 'other-encoding', 'the key is written in base64, not in hex'],
    [
      'base64 declared raw',
      base64Text,
      'raw',
      'other-encoding',
      'the key is written in base64, not in raw bytes',
    ],
    [
      'hex declared raw',
      `${hexText}\n`,
      'raw',
      'other-encoding',
      'the key is written in hex, not in raw bytes',
    ],
    [
      '63 hex digits',
      hexText.slice(1),
      'hex',
      'odd-digits',
      'the key has 63 hex digits, an odd number: one is missing',
    ],
    ['62 hex digits', hexText.slice(2), 'hex', 'length', 'the key has 31 bytes, 32 are expected'],
    ['hex with 0x', `0x${hexText}`, 'hex', 'prefix', 'the key begins with 0x or \\x'],
    ['hex with \\x', `\\x${hexText}`, 'hex', 'prefix', 'the key begins with 0x or \\x'],
    [
      'hex with colons',
      hexText.replaceAll(/(..)(?!$)/g, '$1:'),
      'hex',
      'separators',
      'the hex digits have separators between them',
    ],
    [
      'hex with spaces',
      hexText.replaceAll(/(..)(?!$)/g, '$1 '),
      'hex',
      'separators',
      'the hex digits have separators between them',
    ],
    ['hex with a g', `g${hexText.slice(1)}`, 'hex', 'character', 'character 1 of the key is no hex digit'],
    [
      'look-alike digits',
      hexText.replace('1', '１'),
      'hex',
      'not-ascii',
      'character 3 of the key is not ASCII (look-alikes of digits and letters are not digits and letters)',
    ],
    ['a NUL', `${hexText}\0`, 'hex', 'control-character', 'character 65 of the key is a control character'],
    [
      'two keys',
      `${base64Text}\n${base64Text}\n`,
      'base64',
      'two-keys',
      'the file has 2 lines, a key is one',
    ],
    ['a comment', '# put the key here\n', 'base64', 'comment', 'the key file begins with a comment'],
    [
      'a comment and a key',
      `# key\n${base64Text}\n`,
      'base64',
      'comment',
      'the key file begins with a comment',
    ],
    [
      'a line of an env file',
      `LOCAL_KEK_BASE64=${base64Text}`,
      'base64',
      'env-line',
      'this is a line of an env file, not a key',
    ],
    ['quotes', `"${base64Text}"`, 'base64', 'quotes', 'the key stands in quotes'],
    [
      'the prefix of Laravel',
      `base64:${base64Text}`,
      'base64',
      'prefix',
      'the key begins with the name of an encoding',
    ],
    [
      'an SSH key',
      '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n',
      'base64',
      'ssh-key',
      'this is an SSH key, which encrypts no data',
    ],
    [
      'a public SSH key',
      'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me',
      'raw',
      'ssh-key',
      'this is an SSH key, which encrypts no data',
    ],
    [
      'PEM',
      '-----BEGIN RSA PRIVATE KEY-----\nMIIE\n',
      'hex',
      'pem',
      'this is a PEM file (a key or certificate of another kind)',
    ],
    ['a key of age', 'AGE-SECRET-KEY-1QQQ', 'base64', 'age-key', 'this is a secret key of age'],
    ['a JSON Web Key', '{"kty":"RSA","n":"x"}', 'base64', 'jwk', 'this is a JSON Web Key'],
    ['JSON', '\n {"key": "x"}', 'base64', 'json', 'this is JSON, not a key'],
    [
      'a passphrase as raw bytes',
      'abcdefghijklmnopqrstuvwxyz012345',
      'raw',
      'passphrase',
      'the raw key is 32 printable characters: it looks like a passphrase',
    ],
    [
      'a passphrase and a line break',
      'correct horse battery staple 42!\n',
      'raw',
      'passphrase',
      'the raw key is 32 printable characters: it looks like a passphrase',
    ],
    ['a short passphrase', 'password', 'raw', 'length', 'the key has 8 bytes, 32 are expected'],
    [
      'ascii with ü',
      'ü'.repeat(16),
      'ascii',
      'not-ascii',
      'character 1 of the key is not ASCII (look-alikes of digits and letters are not digits and letters)',
    ],
  ])('is refused with a message of its own: %s', (_, bytes, encoding, kind, message) => {
    expect(fault(bytes, encoding)).toEqual([kind, message])
  })

  test.each<readonly [string, string | Uint8Array, KeyEncoding, string]>([
    ['base64 twice', Buffer.from(base64Text).toString('base64'), 'base64', 'encoded-twice'],
    ['hex declared base64', hexText, 'base64', 'other-encoding'],
    ['base64 declared raw', base64Text, 'raw', 'other-encoding'],
    ['a byte order mark', `\ufeff${base64Text}`, 'raw', 'byte-order-mark'],
    ['a passphrase', 'this is a long passphrase of somebody', 'raw', 'passphrase'],
    ['an SSH key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me', 'raw', 'ssh-key'],
  ])('is refused where every length is allowed, too: %s', (_, bytes, encoding, kind) => {
    expect(fault(bytes, encoding, { expectLength: imports })[0]).toBe(kind)
  })

  test('leaves the input to the caller', () => {
    const input = Buffer.from(base64Text)
    decodeKey(input, 'base64')
    expect(input.toString()).toBe(base64Text)
  })
})
