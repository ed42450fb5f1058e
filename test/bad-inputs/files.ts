import { copyFileSync, mkdirSync, rmSync, symlinkSync, truncateSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import type { BadInput, Place } from './place.ts'

const flip =
  (at: number) =>
  (bytes: Buffer): Buffer => {
    const index = at < 0 ? bytes.length + at : at
    bytes[index] = (bytes[index] ?? 0) ^ 1
    return bytes
  }

/** The vault of three segments of a mebibyte, spoiled in one way. */
const vaults: readonly BadInput[] = (
  [
    ['nothing in it', () => Buffer.alloc(0), '5 DAMAGED cannot be used: it is empty'],
    ['one byte', (bytes) => bytes.subarray(0, 1), '5 DAMAGED it is cut off in its header'],
    [
      'half of its header',
      (bytes) => bytes.subarray(0, 30),
      '5 DAMAGED the header of the body needs 40 bytes and has 0',
    ],
    [
      'its header alone',
      (bytes) => bytes.subarray(0, 200),
      '5 DAMAGED its header or segment 1 of 1 was changed, or it was sealed with anothe',
    ],
    [
      'an end in its first segment',
      (bytes) => bytes.subarray(0, 500_000),
      '5 DAMAGED its header or segment 1 of 1 was changed, or it was sealed with anothe',
    ],
    [
      'an end in its second segment',
      (bytes) => bytes.subarray(0, 1_500_000),
      '5 DAMAGED segment 2 of 2 was changed, moved or cut off',
    ],
    [
      'an end between two segments',
      (bytes) => bytes.subarray(0, 2_097_152),
      '5 DAMAGED segment 2 of 2 was changed, moved or cut off',
    ],
    [
      'its last byte cut off',
      (bytes) => bytes.subarray(0, -1),
      '5 DAMAGED segment 3 of 3 was changed, moved or cut off',
    ],
    [
      'one byte more',
      (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]),
      '5 DAMAGED segment 3 of 3 was changed, moved or cut off',
    ],
    [
      'a segment more',
      (bytes) => Buffer.concat([bytes, randomBytes(4096)]),
      '5 DAMAGED segment 3 of 3 was changed, moved or cut off',
    ],
    ['its first byte changed', flip(0), '5 DAMAGED it does not begin with KVXVAULT'],
    ['its fifth byte changed', flip(4), '5 DAMAGED it does not begin with KVXVAULT'],
    ['its tenth byte changed', flip(9), '5 DAMAGED it says that it has suite 0; this kvx knows suite 1'],
    [
      'its 20th byte changed',
      flip(19),
      '5 DAMAGED its header or segment 1 of 3 was changed, or it was sealed with anothe',
    ],
    [
      'its 40th byte changed',
      flip(39),
      '5 DAMAGED its header or segment 1 of 3 was changed, or it was sealed with anothe',
    ],
    [
      'its 60th byte changed',
      flip(59),
      '5 DAMAGED its header or segment 1 of 3 was changed, or it was sealed with anothe',
    ],
    [
      'a byte of the first segment changed',
      flip(5000),
      '5 DAMAGED its header or segment 1 of 3 was changed, or it was sealed with anothe',
    ],
    [
      'a byte of the second segment changed',
      flip(1_500_000),
      '5 DAMAGED segment 2 of 3 was changed, moved or cut off',
    ],
    ['the last tag changed', flip(-1), '5 DAMAGED segment 3 of 3 was changed, moved or cut off'],
    [
      'two segments changed over',
      (bytes) => swapped(bytes, 1_048_576, 2_097_152, 65_536),
      '5 DAMAGED its header or segment 1 of 3 was changed, or it was sealed with anothe',
    ],
    ['plaintext', () => Buffer.from('{"a":1}'), '5 DAMAGED it does not begin with KVXVAULT'],
    ['random bytes', () => randomBytes(5000), '5 DAMAGED it does not begin with KVXVAULT'],
    ['zeros', () => Buffer.alloc(5000), '5 DAMAGED it does not begin with KVXVAULT'],
    [
      'text of gpg',
      () => Buffer.from('-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----\n'),
      '5 DAMAGED it does not begin with KVXVAULT',
    ],
  ] as readonly (readonly [string, (bytes: Buffer) => Uint8Array, string])[]
).map(([title, change, says]) => ({
  title: `a vault with ${title}`,
  given: (place) => place.spoil('vaults/tk.enc', change),
  args: ['vault', 'get', 'tk', 'b'],
  says,
}))

function swapped(bytes: Buffer, one: number, two: number, length: number): Buffer {
  const first = Buffer.from(bytes.subarray(one, one + length))
  bytes.copy(bytes, one, two, two + length)
  first.copy(bytes, two)
  return bytes
}

function vaultPlace(title: string, says: string, given: (place: Place) => void): BadInput {
  return { title: `a vault ${title}`, given, args: ['vault', 'get', 'tk', 'b'], says }
}

const vaultPlaces: readonly BadInput[] = [
  vaultPlace('that has the name of another one', '5 DAMAGED it is the vault two, not tk', (place) =>
    copyFileSync(place.file('vaults/two.enc'), place.file('vaults/tk.enc')),
  ),
  vaultPlace('that is missing', '2 FILE_NOT_FOUND there is no vault tk in', (place) =>
    rmSync(place.file('vaults/tk.enc')),
  ),
  vaultPlace('that is a folder', '6 UNSAFE_FILE_TYPE it is a directory, not a regular file', (place) => {
    rmSync(place.file('vaults/tk.enc'))
    mkdirSync(place.file('vaults/tk.enc'))
  }),
  vaultPlace('that is a link', '6 UNSAFE_FILE_TYPE it is a symbolic link', (place) => {
    rmSync(place.file('vaults/tk.enc'))
    symlinkSync('two.enc', place.file('vaults/tk.enc'))
  }),
  vaultPlace('whose key is lost', '5 KEYRING_DAMAGED the key file of tk@1 is missing', (place) =>
    rmSync(place.file('.kvx/keys/tk.v1.key')),
  ),
  vaultPlace(
    'whose key is another one',
    '5 FINGERPRINT_DIFFERS the key file of tk@1 holds another key',
    (place) => place.put('.kvx/keys/tk.v1.key', randomBytes(32)),
  ),
]

const json: readonly BadInput[] = (
  [
    ['a comma too many', '{"id":1,"value":"AAAA",}', '2 STORE_SHAPE a member does not begin with a quote'],
    ['two documents', '{"id":1,"value":"AAAA"}{"id":2}', '2 STORE_SHAPE bytes follow the document'],
    ['an end in its middle', '{"id":1,"value":"AA', '2 STORE_SHAPE a string has no end'],
    ['the same name twice', '{"id":1,"value":"AAAA","value":"BBBB"}', '2 STORE_SHAPE a member occurs twice'],
    ['a list in place of an object', '[1,2]', '2 STORE_SHAPE the document is not an object'],
    ['a word in place of an object', '"hello"', '2 STORE_SHAPE the document is not an object'],
    ['nothing', '', '2 STORE_SHAPE this is not JSON'],
    ['a byte order mark', '\ufeff{"id":1,"value":"AAAA"}', '2 STORE_SHAPE this is not JSON'],
    [
      'bytes that are no UTF-8',
      Buffer.from('{"id":1,"value":"\xff\xfe"}', 'latin1'),
      '2 STORE_SHAPE the document is not UTF-8',
    ],
    ['single quotes', "{'id':1}", '2 STORE_SHAPE a member does not begin with a quote'],
    [
      'a comment',
      '{"id":1 /* one */,"value":"AAAA"}',
      '2 STORE_SHAPE a comma or the closing bracket is missing',
    ],
    ['brackets beyond all', '['.repeat(100_000), '2 STORE_SHAPE the document is more than 64 levels deep'],
  ] as const
).map(([title, content, says]) => ({
  title: `a JSON document with ${title}`,
  given: (place) => place.put('data/one.json', content),
  args: ['reencrypt', 'docs.files', '--yes', '--without-backup', '--reason', 'x'],
  says,
}))

function at(title: string, args: readonly string[], says: string, given: (place: Place) => void): BadInput {
  return { title, args, says, given }
}

const restoring: readonly BadInput[] = (
  [
    ['nothing', '', '5 BACKUP_UNUSABLE the file is no OpenPGP message'],
    ['a word', 'hello\n', '5 BACKUP_UNUSABLE the file is no OpenPGP message'],
    [
      'armor without content',
      '-----BEGIN PGP MESSAGE-----\n\n-----END PGP MESSAGE-----\n',
      '5 BACKUP_UNUSABLE the file is no OpenPGP message',
    ],
    [
      'armor without its end',
      '-----BEGIN PGP MESSAGE-----\n\nAAAA\n',
      '5 BACKUP_UNUSABLE its end is missing',
    ],
    [
      'a public key',
      '-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n',
      '5 BACKUP_UNUSABLE the file is no OpenPGP message',
    ],
    ['random bytes', Buffer.alloc(500, 'q9'), '5 BACKUP_UNUSABLE the file is no OpenPGP message'],
    ['JSON', '{"backup":true}', '5 BACKUP_UNUSABLE the file is no OpenPGP message'],
  ] as const
).flatMap(([title, content, says]) => [
  at(
    `a backup that holds ${title}`,
    ['restore', 'in.asc', '--from', 'gpg', '--out', 'out.key'],
    says,
    (place) => place.put('in.asc', content),
  ),
])

const copies: readonly BadInput[] = (
  [
    ['nothing', '', '5 DAMAGED copy.json is no copy of a home'],
    ['a word', 'hello', '5 DAMAGED copy.json is no copy of a home'],
    ['JSON of something else', '{"a":1}', '5 DAMAGED the document has no Ed25519 signature'],
    ['a list', '[]', '5 DAMAGED the document is not a JSON object'],
    ['JSON without its end', '{"schema":"kvx.home-backup/1"', '5 DAMAGED copy.json is no copy of a home'],
  ] as const
).map(([title, content, says]) =>
  at(
    `a copy of the home that holds ${title}`,
    ['restore', 'copy.json', '--from', 'home', '--home', 'fresh', '--config', 'fresh.yaml', '--yes'],
    says,
    (place) => place.put('copy.json', content),
  ),
)

const shares: readonly BadInput[] = (
  [
    ['nothing', '', '7 SHARE_MISSING no share was given'],
    ['a word', 'hello\n', '5 DAMAGED it does not begin with KVX1'],
    ['an index alone', '1-\n', '5 DAMAGED it does not begin with KVX1'],
    ['hex that is no share', `${'ab'.repeat(40)}\n`, '5 DAMAGED it does not begin with KVX1'],
    ['a share of another program', '1-b3d0a3b6c1\n', '5 DAMAGED it does not begin with KVX1'],
    ['a share with a wrong check', 'kvx-share v1 AAAA BBBB CCCC\n', '5 DAMAGED it does not begin with KVX1'],
    ['a share with control characters', 'kvx\u001b[31m share\n', '5 DAMAGED it does not begin with KVX1'],
  ] as const
).map(([title, input, says]) => ({
  title: `shares: ${title}`,
  args: ['restore', '--from', 'shares', '--share-fd', '0', '--out', 'out.key'],
  input,
  says,
}))

const home: readonly BadInput[] = [
  at(
    'a keyring that is empty',
    ['verify'],
    '5 KEYRING_DAMAGED .kvx/keyring.json is damaged: it is not JSON',
    (place) => truncateSync(place.file('.kvx/keyring.json'), 0),
  ),
  at(
    'a keyring that is cut off',
    ['verify'],
    '5 KEYRING_DAMAGED .kvx/keyring.json is damaged: it is not JSON',
    (place) => truncateSync(place.file('.kvx/keyring.json'), 90),
  ),
  at(
    'a keyring that is a list',
    ['verify'],
    '5 KEYRING_DAMAGED .kvx/keyring.json is damaged:  is not what kvx wrote',
    (place) => place.put('.kvx/keyring.json', '[]'),
  ),
  at(
    'a keyring of a later format',
    ['verify'],
    '5 KEYRING_DAMAGED .kvx/keyring.json is damaged: schema is not what kvx wrote',
    (place) => place.edit('.kvx/keyring.json', /"(schema|kvx)": ?"?[^",]+"?/, '"$1": "kvx.keyring/9"'),
  ),
  at(
    'a keyring with a member that nobody knows',
    ['verify'],
    '5 KEYRING_DAMAGED .kvx/keyring.json is damaged:  is not what kvx wrote',
    (place) => place.edit('.kvx/keyring.json', '{', '{"colour": "red",'),
  ),
  at(
    'a keyring with a state that does not exist',
    ['verify'],
    '5 KEYRING_DAMAGED .kvx/keyring.json is damaged: keys.master.versions.1.state is not what',
    (place) => place.edit('.kvx/keyring.json', '"state": "active"', '"state": "happy"'),
  ),
  at('a keyring that is a link', ['verify'], '6 UNSAFE_FILE_TYPE it is a symbolic link', (place) => {
    copyFileSync(place.file('.kvx/keyring.json'), place.file('ring.json'))
    rmSync(place.file('.kvx/keyring.json'))
    symlinkSync('../ring.json', place.file('.kvx/keyring.json'))
  }),
  at(
    'a key file that is empty',
    ['verify'],
    '5 FINGERPRINT_DIFFERS the key file of master@1 holds another key',
    (place) => truncateSync(place.file('.kvx/keys/master.v1.key'), 0),
  ),
  at(
    'a key file that is cut off',
    ['verify'],
    '5 FINGERPRINT_DIFFERS the key file of master@1 holds another key',
    (place) => truncateSync(place.file('.kvx/keys/master.v1.key'), 31),
  ),
  at(
    'a key file that is a folder',
    ['verify'],
    '6 UNSAFE_FILE_TYPE it is a directory, not a regular file',
    (place) => {
      rmSync(place.file('.kvx/keys/master.v1.key'))
      mkdirSync(place.file('.kvx/keys/master.v1.key'))
    },
  ),
  at(
    'a home without its folder of keys',
    ['verify'],
    '5 KEYRING_DAMAGED the key file of master@1 is missing',
    (place) => rmSync(place.file('.kvx/keys'), { recursive: true }),
  ),
  at('a database that is empty', ['verify'], '2 STORE_SHAPE there is no table "secrets"', (place) =>
    truncateSync(place.file('app.db'), 0),
  ),
  at(
    'a database that is text',
    ['verify'],
    '2 STORE_SHAPE is not an SQLite database, or is encrypted as a whole',
    (place) => place.put('app.db', 'hello '.repeat(1000)),
  ),
  at('a database that is a folder', ['verify'], '2 STORE_SHAPE is not a regular file', (place) => {
    rmSync(place.file('app.db'))
    mkdirSync(place.file('app.db'))
  }),
  at('a table that was renamed', ['verify'], '2 STORE_SHAPE there is no table "secrets"', (place) =>
    place.sql('ALTER TABLE secrets RENAME TO other'),
  ),
  at(
    'a column that was renamed',
    ['verify'],
    '2 STORE_SHAPE table "secrets" has no column "wrapped_dek"',
    (place) => place.sql('ALTER TABLE secrets RENAME COLUMN wrapped_dek TO dek'),
  ),
]

export const fileCases: readonly BadInput[] = [
  ...vaults,
  ...vaultPlaces,
  ...json,
  ...restoring,
  ...copies,
  ...shares,
  ...home,
]
