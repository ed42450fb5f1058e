import { chmodSync, symlinkSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import type { BadInput } from './place.ts'

/** A key with every byte different enough; nothing is sealed under it. */
const good = Buffer.from('8c1f5ab4d03e7796e2615b0cf84a93d721be6f0d58c9a4173eb2805df6497acd', 'hex')
const base64 = good.toString('base64')
const hex = good.toString('hex')

type Encoding = 'raw' | 'base64' | 'base64url' | 'hex' | 'ascii'
type Spelling = readonly [title: string, content: string | Buffer, says: string]

function spelled(encoding: Encoding, spellings: readonly Spelling[]): readonly BadInput[] {
  return spellings.map(([title, content, says]) => ({
    title: `a key that is declared ${encoding}: ${title}`,
    given: (place) => place.put('in.key', content),
    args: ['key', 'import', 'other', '--from', 'file:in.key', '--encoding', encoding],
    says,
  }))
}

const inBase64 = spelled('base64', [
  ['an empty file', '', '2 INPUT_EMPTY there is no key in file:in.key'],
  ['nothing but a line break', '\n', '2 INPUT_EMPTY the key is an empty line'],
  [
    'raw bytes',
    good,
    '5 KEY_MALFORMED character 1 of the key is not ASCII (look-alikes of digits and letters',
  ],
  ['a leading space', ` ${base64}`, '5 KEY_MALFORMED the key begins with a space'],
  ['a trailing space', `${base64} `, '5 KEY_MALFORMED the key ends in a space'],
  ['a byte order mark', `\ufeff${base64}`, '5 KEY_MALFORMED the key begins with a byte order mark of UTF-8'],
  [
    'no padding',
    base64.replaceAll('=', ''),
    '5 KEY_MALFORMED the padding (=) of the 43 characters is missing or wrong',
  ],
  [
    'padding that is too long',
    `${base64}=`,
    '5 KEY_MALFORMED the padding (=) of the 45 characters is missing or wrong',
  ],
  [
    'both alphabets mixed',
    `+/${base64.slice(2, -3).replaceAll(/[+/]/g, 'A')}-_=`.slice(0, 44),
    '5 KEY_MALFORMED the key mixes the two alphabets of base64 (+ / with - _)',
  ],
  [
    'the alphabet of URLs',
    Buffer.alloc(32, 0xfb).toString('base64url'),
    '5 KEY_MALFORMED the key is written in base64url, not in base64',
  ],
  [
    'a sign that is in no alphabet',
    `${base64.slice(0, 10)}!${base64.slice(11)}`,
    '5 KEY_MALFORMED character 11 of the key is no digit of base64',
  ],
  [
    'a line break in its middle',
    `${base64.slice(0, 20)}\n${base64.slice(20)}`,
    '5 KEY_MALFORMED the file has 2 lines, a key is one',
  ],
  [
    'data after the padding',
    `${base64}QUJD`,
    '5 KEY_MALFORMED character 44 of the key is padding and digits follow it',
  ],
  [
    'bits behind the last byte',
    `${base64.slice(0, -2)}${base64.at(-2) === 'B' ? 'C' : 'B'}=`,
    '5 KEY_MALFORMED the last digit of the key has bits that no encoder writes: it was chan',
  ],
  [
    'encoded twice',
    Buffer.from(base64).toString('base64'),
    '5 KEY_MALFORMED the key is encoded twice: base64 around base64',
  ],
  [
    'two keys in two lines',
    `${base64}\n${Buffer.from(good).reverse().toString('base64')}\n`,
    '5 KEY_MALFORMED the file has 2 lines, a key is one',
  ],
  ['in quotes', `"${base64}"`, '5 KEY_MALFORMED the key stands in quotes'],
  ['behind a name', `KEY=${base64}`, '5 KEY_MALFORMED this is a line of an env file, not a key'],
  [
    'an SSH private key',
    '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n',
    '5 KEY_MALFORMED this is an SSH key, which encrypts no data',
  ],
  [
    'a PEM certificate',
    '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    '5 KEY_MALFORMED this is a PEM file (a key or certificate of another kind)',
  ],
  ['a JSON web key', '{"kty":"RSA","n":"AAAA","e":"AQAB"}', '5 KEY_MALFORMED this is a JSON Web Key'],
  ['only a comment', '# the key goes here\n', '5 KEY_MALFORMED the key file begins with a comment'],
  [
    'look-alike letters',
    base64.replace(/[A-Za-z]/, '\u0410'),
    '5 KEY_MALFORMED character 1 of the key is not ASCII (look-alikes of digits and letters',
  ],
  ['a NUL behind it', `${base64}\0`, '5 KEY_MALFORMED character 45 of the key is a control character'],
  ['an age identity', `AGE-SECRET-KEY-1${'Q'.repeat(58)}`, '5 KEY_MALFORMED this is a secret key of age'],
  [
    '2,000 bytes',
    Buffer.alloc(2000, 7).toString('base64'),
    '5 KEY_MALFORMED the key has 2000 bytes, 16 to 1024 are allowed',
  ],
  [
    'all zero',
    Buffer.alloc(32).toString('base64'),
    '5 KEY_MALFORMED the key is written in hex, not in base64',
  ],
  [
    'a pattern that repeats',
    Buffer.alloc(32, 'abcd1234').toString('base64'),
    '5 KEY_MALFORMED the key is encoded twice: base64 around hex',
  ],
])

const inHex = spelled('hex', [
  ['an empty file', '', '2 INPUT_EMPTY there is no key in file:in.key'],
  ['63 digits', hex.slice(1), '5 KEY_MALFORMED the key has 63 hex digits, an odd number: one is missing'],
  [
    'a space between bytes',
    hex.replaceAll(/(..)(?!$)/g, '$1 '),
    '5 KEY_MALFORMED the hex digits have separators between them',
  ],
  [
    'colons between bytes',
    hex.replaceAll(/(..)(?!$)/g, '$1:'),
    '5 KEY_MALFORMED the hex digits have separators between them',
  ],
  ['0x before it', `0x${hex}`, '5 KEY_MALFORMED the key begins with 0x or \\x'],
  [
    'a letter that is no digit',
    `${hex.slice(0, 9)}g${hex.slice(10)}`,
    '5 KEY_MALFORMED character 10 of the key is no hex digit',
  ],
  [
    'full-width digits',
    hex.replaceAll('5', '\uff15'),
    '5 KEY_MALFORMED character 5 of the key is not ASCII (look-alikes of digits and letters',
  ],
  ['a byte order mark', `\ufeff${hex}`, '5 KEY_MALFORMED the key begins with a byte order mark of UTF-8'],
  ['base64 in its place', base64, '5 KEY_MALFORMED the key is written in base64, not in hex'],
  [
    'raw bytes',
    good,
    '5 KEY_MALFORMED character 1 of the key is not ASCII (look-alikes of digits and letters',
  ],
  ['two lines', `${hex}\n${hex}\n`, '5 KEY_MALFORMED the file has 2 lines, a key is one'],
  ['an h behind it', `${hex}h`, '5 KEY_MALFORMED character 65 of the key is no hex digit'],
])

const inBase64url = spelled('base64url', [
  ['an empty file', '', '2 INPUT_EMPTY there is no key in file:in.key'],
  [
    'the usual alphabet',
    Buffer.alloc(32, 0xfb).toString('base64'),
    '5 KEY_MALFORMED the key is written in base64, not in base64url',
  ],
  [
    'a sign too few',
    good.toString('base64url').slice(1),
    '5 KEY_MALFORMED the last digit of the key has bits that no encoder writes: it was chan',
  ],
  [
    'a space',
    `${good.toString('base64url').slice(0, 9)} ${good.toString('base64url').slice(9)}`,
    '5 KEY_MALFORMED character 10 of the key is no digit of base64url',
  ],
  [
    'a byte order mark',
    `\ufeff${good.toString('base64url')}`,
    '5 KEY_MALFORMED the key begins with a byte order mark of UTF-8',
  ],
  [
    'all zero',
    Buffer.alloc(32).toString('base64url'),
    '5 KEY_MALFORMED the key is written in hex, not in base64url',
  ],
])

const inRaw = spelled('raw', [
  ['an empty file', '', '2 INPUT_EMPTY there is no key in file:in.key'],
  ['15 bytes', good.subarray(0, 15), '5 KEY_MALFORMED the key has 15 bytes, 16 to 1024 are allowed'],
  ['2,000 bytes', Buffer.alloc(2000, 7), '5 KEY_MALFORMED the key has 2000 bytes, 16 to 1024 are allowed'],
  ['hex text', hex, '5 KEY_MALFORMED the key is written in hex, not in raw bytes'],
  ['base64 text', base64, '5 KEY_MALFORMED the key is written in base64, not in raw bytes'],
  [
    'base64 text with a line break',
    `${base64}\n`,
    '5 KEY_MALFORMED the key is written in base64, not in raw bytes',
  ],
  [
    'an SSH private key',
    '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n',
    '5 KEY_MALFORMED this is an SSH key, which encrypts no data',
  ],
])

const weak = spelled('raw', [
  ['bytes that are all the same', Buffer.alloc(32, 0xff), '5 KEY_WEAK all 32 bytes of the key are the same'],
  [
    'bytes that count',
    Buffer.from(Array.from({ length: 32 }, (_, at) => at)),
    '5 KEY_WEAK the bytes of the key count up or down in equal steps',
  ],
  [
    'two different bytes',
    Buffer.from(Array.from({ length: 32 }, (_, at) => (at * at) % 3)),
    '5 KEY_WEAK the 32 bytes of the key have 2 different values',
  ],
])

const inAscii = spelled('ascii', [
  ['an empty file', '', '2 INPUT_EMPTY there is no key in file:in.key'],
  [
    'a letter outside ASCII',
    `${'k3Y'.repeat(10)}\u00e9\u00e9`,
    '5 KEY_MALFORMED character 31 of the key is not ASCII (look-alikes of digits and letter',
  ],
  ['a NUL', `${'k3Yx'.repeat(8)}\0`, '5 KEY_MALFORMED character 33 of the key is a control character'],
])

function importing(title: string, from: string, says: string, given?: BadInput['given']): BadInput {
  return {
    title: `a key from ${title}`,
    args: ['key', 'import', 'other', '--from', from],
    says,
    ...(given === undefined ? {} : { given }),
  }
}

const places: readonly BadInput[] = [
  importing(
    'a file that is missing',
    'file:none.key',
    '2 FILE_NOT_FOUND cannot read none.key: it does not exist',
  ),
  importing(
    'a directory',
    'file:keys',
    '6 UNSAFE_FILE_TYPE cannot read keys: it is a directory, not a regular file',
  ),
  importing(
    'a dangling link',
    'file:link.key',
    '2 FILE_NOT_FOUND cannot read link.key: it does not exist',
    (place) => symlinkSync('nowhere', place.file('link.key')),
  ),
  importing(
    'a FIFO',
    'file:fifo',
    '6 UNSAFE_FILE_TYPE cannot read fifo: it is a FIFO, not a regular file',
    (place) => execFileSync('mkfifo', [place.file('fifo')]),
  ),
  importing(
    'a device without an end',
    'file:/dev/zero',
    '6 UNSAFE_FILE_TYPE cannot read /dev/zero: it is a device, not a regular file',
  ),
  importing(
    'an empty device',
    'file:/dev/null',
    '6 UNSAFE_FILE_TYPE cannot read /dev/null: it is a device, not a regular file',
  ),
  importing(
    'an unknown kind of source',
    'floppy:in.key',
    '2 USAGE the source of a key is file:PATH, env-file:PATH#VARIABLE, docker-secre',
  ),
  importing(
    'a source without a kind',
    'in.key',
    '2 USAGE the source of a key is file:PATH, env-file:PATH#VARIABLE, docker-secre',
  ),
  importing(
    'an env file without a variable',
    'env-file:app.env',
    '2 USAGE this source is written env-file:PATH#VARIABLE',
  ),
  importing(
    'an env file that is missing',
    'env-file:none.env#KEK',
    '2 INPUT_EMPTY there is no key in env-file:none.env#KEK',
  ),
  importing(
    'an env file without that variable',
    'env-file:app.env#KEK',
    '2 INPUT_EMPTY there is no key in env-file:app.env#KEK',
    (place) => place.put('app.env', 'PORT=1\n'),
  ),
  importing(
    'an env file that sets it twice',
    'env-file:app.env#KEK',
    '2 CONFIG_INVALID app.env sets KEK twice',
    (place) => place.put('app.env', `KEK=${base64}\nKEK=${base64}\n`),
  ),
  importing(
    'a variable that is empty',
    'env-file:app.env#KEK',
    '2 INPUT_EMPTY there is no key in env-file:app.env#KEK',
    (place) => place.put('app.env', 'KEK=\n'),
  ),
  importing('an empty standard input', 'stdin', '2 INPUT_EMPTY standard input is empty or closed'),
  importing('a command without its words', 'command', '2 USAGE `--from command` needs `--key-command`'),
  importing(
    'a secret of Docker that is not there',
    'docker-secret:none',
    '2 FILE_NOT_FOUND cannot read /run/secrets/none: it does not exist',
  ),
  importing(
    'a credential of systemd that is not there',
    'systemd-credential:none',
    '2 USAGE CREDENTIALS_DIRECTORY is not set: kvx does not run in a unit with cred',
  ),
  importing(
    'a Kubernetes manifest that is missing',
    'kubernetes-secret:none.yaml#s/k',
    '2 INPUT_EMPTY there is no key in kubernetes-secret:none.yaml#s/k',
  ),
  importing(
    'a Kubernetes manifest that is none',
    'kubernetes-secret:in.yaml#s/k',
    '2 CONFIG_INVALID in.yaml is not valid YAML in line 2, column 1',
    (place) => place.put('in.yaml', 'hello: [\n'),
  ),
]

const written: readonly BadInput[] = [0o620, 0o602].map((mode) =>
  importing(
    `a file that others can write (mode ${mode.toString(8)})`,
    'file:in.key',
    '6 UNSAFE_MODE others than its owner can write in.key',
    (place) => {
      place.put('in.key', base64)
      chmodSync(place.file('in.key'), mode)
    },
  ),
)

const commands: readonly BadInput[] = [
  [
    'a program that does not exist',
    ['--key-command', 'no-such-program-here'],
    '9 TOOL_MISSING no-such-program-here is not installed',
  ],
  [
    'a program that fails',
    ['--key-command', 'false'],
    '9 TOOL_FAILED the program /usr/bin/false, which prints the key, ended with exit code',
  ],
  [
    'a program that prints nothing',
    ['--key-command', 'true'],
    '2 INPUT_EMPTY there is no key in what the program printed',
  ],
  [
    'a program that prints words',
    ['--key-command', 'echo hello there'],
    '5 KEY_MALFORMED character 6 of the key is no digit of base64',
  ],
  [
    'version 0',
    ['--from', 'file:keys/spare.key', '--encoding', 'raw', '--version', '0'],
    '2 USAGE --version takes a whole number from 1',
  ],
  [
    'a version that is no number',
    ['--from', 'file:keys/spare.key', '--version', 'two'],
    '2 USAGE --version takes a whole number',
  ],
  [
    'a negative version',
    ['--from', 'file:keys/spare.key', '--version=-1'],
    '2 USAGE --version takes a whole number from 1',
  ],
  [
    'a version beyond all numbers',
    ['--from', 'file:keys/spare.key', '--version', '99999999999999999999'],
    '2 USAGE --version takes a whole number up to',
  ],
  [
    'an unknown encoding',
    ['--from', 'file:keys/spare.key', '--encoding', 'rot13'],
    '2 USAGE Expected --encoding=rot13 to be one of: raw, base64, base64url, hex, a',
  ],
].map(([title, more, says]) => ({
  title: `a key by ${String(title)}`,
  args: ['key', 'import', 'other', ...(more as readonly string[])],
  says: String(says),
}))

const known: readonly BadInput[] = [
  {
    title: 'a key that another name has already',
    given: (place) => place.put('in.key', place.bytes('.kvx/keys/master.v1.key')),
    args: ['key', 'import', 'other', '--from', 'file:in.key', '--encoding', 'raw'],
    says: '5 KEY_REUSED this key is master@1 already',
  },
  {
    title: 'another key under a number that is taken',
    args: ['key', 'import', 'master', '--from', 'file:keys/spare.key', '--encoding', 'raw'],
    says: '2 KEY_EXISTS master@1 is another key',
  },
  {
    title: 'a published place that holds nothing',
    args: ['key', 'import', 'other'],
    says: '2 INPUT_EMPTY there is no key in file ',
  },
  {
    title: 'a new key where one lies already',
    given: (place) => place.put('keys/other.key', base64),
    args: ['keygen', 'other'],
    says: '2 TARGET_EXISTS holds a key already',
  },
]

export const keyCases: readonly BadInput[] = [
  ...inBase64,
  ...inHex,
  ...inBase64url,
  ...inRaw,
  ...weak,
  ...inAscii,
  ...places,
  ...written,
  ...commands,
  ...known,
]
