import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import { describe, expect, it } from 'vitest'
import { compileLayout } from '../../../src/core/layout/layout.ts'
import { blob, databaseOf, discoverIn, gcm, newDirectory, type Parts, type Row, trialKey } from './fixture.ts'

const key = randomBytes(32)
const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index + 1)
const text = (index: number): string => `secret number ${index} ${'x'.repeat(index % 7)}`

function noble(cipher: typeof chacha20poly1305, nonceLength: number, plaintext: string): Parts {
  const nonce = randomBytes(nonceLength)
  const sealed = Buffer.from(cipher(key, nonce).encrypt(Buffer.from(plaintext)))
  return { nonce, ct: sealed.subarray(0, -16), tag: sealed.subarray(-16) }
}

const inHex = ({ nonce, ct, tag }: Parts): string =>
  [nonce, tag, ct].map((part) => part.toString('hex')).join(':')
const byText = (one: unknown, other: unknown): number => String(one).localeCompare(String(other))
const b64 = (bytes: Buffer): string => bytes.toString('base64')
const url = (bytes: Buffer): string => bytes.toString('base64url')
const u32 = (version: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(version)
  return bytes
}

type Writer = (index: number) => string | Buffer
type Written = readonly [layout: string, write: Writer, aead?: string]

/** How applications write what they seal, and what must be found of it. */
const forms: readonly Written[] = [
  ['nonce:12 ct tag:16', (i) => blob(gcm(key, text(i)))],
  ['nonce:16 ct tag:16', (i) => blob(gcm(key, text(i), 16))],
  ['nonce:32 ct tag:16', (i) => blob(gcm(key, text(i), 32))],
  ['base64(nonce:12 ct tag:16)', (i) => b64(blob(gcm(key, text(i))))],
  ['base64url(nonce:12 ct tag:16)', (i) => url(blob(gcm(key, text(i) + '¡'.repeat(i % 3))))],
  ['hex(nonce:16 ct tag:16)', (i) => blob(gcm(key, text(i), 16)).toString('hex')],
  [
    'base64(nonce:12 tag:16 ct)',
    (i) => {
      const { nonce, ct, tag } = gcm(key, text(i))
      return b64(Buffer.concat([nonce, tag, ct]))
    },
  ],
  ['hex(nonce:12) ":" hex(tag:16) ":" hex(ct)', (i) => inHex(gcm(key, text(i)))],
  [
    'hex(nonce:16) ":" hex(ct tag:16)',
    (i) => {
      const { nonce, ct, tag } = gcm(key, text(i), 16)
      return `${nonce.toString('hex')}:${Buffer.concat([ct, tag]).toString('hex')}`
    },
  ],
  [
    '"v1." base64url(nonce:12) "." base64url(ct) "." base64url(tag:16)',
    (i) => {
      const { nonce, ct, tag } = gcm(key, text(i))
      return ['v1', ...[nonce, ct, tag].map(url)].join('.')
    },
  ],
  [
    '"vault:v" dec(version) ":" base64(nonce:12 ct tag:16)',
    (i) => `vault:v1:${b64(blob(gcm(key, text(i))))}`,
  ],
  ['"vault:v7:" base64(nonce:12 ct tag:16)', (i) => `vault:v7:${b64(blob(gcm(key, text(i))))}`],
  ['"enc:" base64(nonce:12 ct tag:16)', (i) => `enc:${b64(blob(gcm(key, text(i))))}`],
  ['"$enc$aes$" base64(nonce:12 ct tag:16)', (i) => `$enc$aes$${b64(blob(gcm(key, text(i))))}`],
  ['u32be(version) nonce:12 ct tag:16', (i) => Buffer.concat([u32(1), blob(gcm(key, text(i)))])],
  ['skip:4 nonce:12 ct tag:16', (i) => Buffer.concat([u32(9 + i), blob(gcm(key, text(i)))])],
  ['base64(0x01 nonce:12 ct tag:16)', (i) => b64(Buffer.concat([Buffer.from([1]), blob(gcm(key, text(i)))]))],
  ['0x4641504900 nonce:12 ct tag:16', (i) => Buffer.concat([Buffer.from('FAPI\0'), blob(gcm(key, text(i)))])],
  ['nonce:24 ct tag:16', (i) => blob(noble(xchacha20poly1305, 24, text(i))), 'xchacha20-poly1305'],
  ['nonce:12 ct tag:16', (i) => blob(noble(chacha20poly1305, 12, text(i))), 'chacha20-poly1305'],
  [
    'base64(nonce:24 tag:16 ct)',
    (i) => {
      const nonce = randomBytes(24)
      return b64(Buffer.concat([nonce, xsalsa20poly1305(key, nonce).encrypt(Buffer.from(text(i)))]))
    },
    'xsalsa20-poly1305',
  ],
  [
    'json({"iv": base64(nonce:12), "data": base64(ct), "tag": base64(tag:16), ...})',
    (i) => {
      const { nonce, ct, tag } = gcm(key, text(i))
      return JSON.stringify({ alg: 'A256GCM', iv: b64(nonce), data: b64(ct), tag: b64(tag), v: 1 })
    },
  ],
  [
    'json({"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}, ...})',
    (i) => {
      const { nonce, ct, tag } = gcm(key, text(i))
      return JSON.stringify({ p: b64(ct), h: { iv: b64(nonce), at: b64(tag) } })
    },
  ],
  [
    'json({"ciphertext": base64(nonce:12 ct tag:16), ...})',
    (i) => JSON.stringify({ v: 1, ciphertext: b64(blob(gcm(key, text(i)))), note: 'größe' }),
  ],
  [
    'base64(json({"iv": base64(nonce:12), "value": base64(ct), "tag": base64(tag:16), ...}))',
    (i) => {
      const { nonce, ct, tag } = gcm(key, text(i))
      return b64(Buffer.from(JSON.stringify({ iv: b64(nonce), value: b64(ct), mac: '', tag: b64(tag) })))
    },
  ],
  ['base64(nonce:12 ct tag:16) "\\n"', (i) => `${b64(blob(gcm(key, text(i))))}\n`],
]

describe('a column under a known key', () => {
  const cases = forms.map(([layout, write, aead = 'aes-256-gcm']) => ({ layout, write, aead }))
  it.each(cases)('is found with the layout $layout', async ({ layout, write, aead }) => {
    const rows = numbers(12).map((index): Row => ({ name: `row ${index}`, value: write(index) }))
    const keys = [trialKey(randomBytes(32), 'other', 4), trialKey(key)]
    const { finds } = await discoverIn({ sqlite: databaseOf(rows) }, keys)
    expect(finds).toHaveLength(1)
    const [find] = finds
    expect(find).toMatchObject({
      table: 't',
      columns: ['value'],
      records: 12n,
      looked: 12,
      opens: { 'master@1': 12 },
      level: 'key',
      confidence: 'certain',
    })
    const isNumbered = /"v\d|0x01 |v7/.test(layout)
    expect(find?.notes.length).toBe(isNumbered ? 1 : 0)
    expect(find?.declaration).toContain(JSON.stringify(layout))
    expect(find?.declaration).toContain(`aead: ${aead}`)
    expect(() => compileLayout(layout)).not.toThrow()
  })

  it.each([
    ['{id}', (i: number) => String(i)],
    ['"t" ":" {id}', (i: number) => `t:${i}`],
    ['"value" "/" {id}', (i: number) => `value/${i}`],
    ['{tenant} "|" {id}', (i: number) => `acme ${i}|${i}`],
    ['{tenant}', (i: number) => `acme ${i}`],
    ['"t" "." "value" "." {id}', (i: number) => `t.value.${i}`],
  ])('is found where it is bound to %s', async (aad, bound) => {
    const rows = numbers(6).map(
      (index): Row => ({
        tenant: `acme ${index}`,
        value: b64(blob(gcm(key, text(index), 12, bound(index)))),
      }),
    )
    const { finds } = await discoverIn({ sqlite: databaseOf(rows) }, [trialKey(key)])
    expect(finds).toMatchObject([{ columns: ['value'], opens: { 'master@1': 6 } }])
    expect(finds[0]?.declaration).toContain(`aad: ${JSON.stringify(aad)}`)
  })

  it('is found with the version in front where values of two versions show that it is one', async () => {
    const second = randomBytes(32)
    const rows = numbers(20).map((index): Row => {
      const under = (index % 2) + 1
      return { value: `v${under}.${b64(blob(gcm(under === 1 ? key : second, text(index))))}` }
    })
    const keys = [trialKey(key), trialKey(second, 'master', 2)]
    const { finds } = await discoverIn({ sqlite: databaseOf(rows) }, keys)
    expect(finds).toMatchObject([{ opens: { 'master@1': 10, 'master@2': 10 }, notes: [] }])
    expect(finds[0]?.declaration).toContain(JSON.stringify('"v" dec(version) "." base64(nonce:12 ct tag:16)'))
  })

  it('is found among plaintext and null, under several versions, and beside what nothing opens', async () => {
    const second = randomBytes(32)
    const value = (index: number): string | null => {
      if (index % 5 === 0) return null
      if (index % 5 === 1) return `plain text ${index}`
      const under = index % 5 === 2 ? second : index % 5 === 3 ? key : randomBytes(32)
      return `enc:${b64(blob(gcm(under, text(index))))}`
    }
    const rows = numbers(100).map((index): Row => ({ value: value(index) }))
    const keys = [trialKey(key), trialKey(second, 'master', 2)]
    const { finds } = await discoverIn({ sqlite: databaseOf(rows) }, keys)
    expect(finds).toMatchObject([{ looked: 80, opens: { 'master@1': 20, 'master@2': 20 } }])
    expect(finds[0]?.notes).toEqual(['20 of the same shape open with no known key'])
    expect(finds[0]?.declaration).toContain('plaintext: true')
  })

  it('is found in a column that is nearly always empty', async () => {
    const rows = numbers(3000).map(
      (index): Row => ({
        name: `row ${index}`,
        value: index === 2900 ? b64(blob(gcm(key, 'late'))) : null,
      }),
    )
    const { finds, records } = await discoverIn({ sqlite: databaseOf(rows) }, [trialKey(key)], {
      sample: 100,
    })
    expect([finds.length, records]).toEqual([1, 3000])
  })

  it('is found over several columns', async () => {
    const rows = numbers(8).map((index): Row => {
      const { nonce, ct, tag } = gcm(key, text(index))
      return { note: 'hello there', iv: nonce.toString('hex'), auth_tag: tag, body: ct.toString('base64') }
    })
    const { finds } = await discoverIn({ sqlite: databaseOf(rows) }, [trialKey(key)])
    expect(finds).toMatchObject([{ opens: { 'master@1': 8 } }])
    expect(finds[0]?.columns.toSorted()).toEqual(['auth_tag', 'body', 'iv'])
    expect(finds[0]?.declaration).toContain('iv: "hex(nonce:12)"')
  })

  it('is found in a table whose rows nothing names, which is said', async () => {
    const rows = numbers(5).map((index): Row => ({ value: blob(gcm(key, text(index))) }))
    const { finds } = await discoverIn({ sqlite: databaseOf(rows, 'CREATE TABLE t (value)') }, [
      trialKey(key),
    ])
    expect(finds).toMatchObject([{ opens: { 'master@1': 5 }, declaration: undefined }])
    expect(finds[0]?.notes.join()).toContain('unique and never null')
  })
})

describe('wrapped keys', () => {
  const wrapped = (index: number, size = 32): { dek: Buffer; wrap: string } => {
    const dek = createHash('sha512').update(`dek ${index}`).digest().subarray(0, size)
    return { dek, wrap: b64(blob(gcm(key, dek))) }
  }

  it.each([32, 16, 24])('of %i bytes are found with the values that they open', async (size) => {
    const rows = numbers(9).map((index): Row => {
      const { dek, wrap } = wrapped(index, size)
      return {
        wrap,
        body: blob(gcm(dek, text(index), 12, String(index))),
        note: b64(blob(gcm(dek, 'a note'))),
      }
    })
    const { finds } = await discoverIn({ sqlite: databaseOf(rows) }, [trialKey(key)])
    const of = (column: string) => finds.find(({ columns }) => columns.includes(column))
    expect(of('wrap')).toMatchObject({ level: 'wrapped-key', opens: { 'master@1': 9 } })
    expect(of('body')).toMatchObject({ level: 'below', opens: { 'master@1': 9 } })
    expect(of('note')).toMatchObject({ level: 'below', belongsTo: of('body')?.belongsTo })
    expect(of('wrap')?.declaration).toMatch(/dek: .*wrap[^]*- .*(body|note)[^]*- .*(body|note)/)
    expect(of('wrap')?.declaration).toContain(`aead: aes-${size * 8}-gcm, aad: "{id}"`)
  })

  it('are found where they are written as text inside of their wrap', async () => {
    const rows = numbers(4).map((index): Row => {
      const { dek } = wrapped(index)
      return { wrap: blob(gcm(key, dek.toString('base64'))), body: blob(gcm(dek, text(index))) }
    })
    const { finds } = await discoverIn({ sqlite: databaseOf(rows) }, [trialKey(key)])
    expect(finds.map(({ level }) => level)).toEqual(['wrapped-key', 'below'])
    expect(finds[0]?.declaration).toContain('encoding: base64')
  })

  it('alone are said to be wrapped keys', async () => {
    const rows = numbers(4).map((index): Row => ({ wrap: wrapped(index).wrap }))
    const { finds } = await discoverIn({ sqlite: databaseOf(rows) }, [trialKey(key)])
    expect(finds).toMatchObject([{ level: 'wrapped-key' }])
    expect(finds[0]?.notes.join()).toContain('values that it wraps may lie elsewhere')
  })

  it('of a declared envelope open a value that it does not name', async () => {
    const rows = numbers(5).map((index): Row => {
      const { dek, wrap } = wrapped(index)
      return { wrap, body: blob(gcm(dek, text(index))), forgotten: b64(blob(gcm(dek, 'x'.repeat(index)))) }
    })
    const path = databaseOf(rows)
    const columns = new Set(['wrap', 'body'])
    const declared = [
      { envelope: 'app.secrets', place: path, table: 't', columns, layouts: [], covers: () => true },
    ]
    const { finds } = await discoverIn({ sqlite: path }, [trialKey(key)], { declared })
    expect(finds).toMatchObject([{ columns: ['forgotten'], level: 'below', belongsTo: 'app.secrets' }])
    expect(finds[0]?.notes.join()).toContain('column: forgotten')
  })
})

describe('what no known key opens', () => {
  const strange = randomBytes(32)
  const laravel = (index: number): string =>
    b64(
      Buffer.from(
        JSON.stringify({ iv: b64(randomBytes(16)), value: b64(randomBytes(32 + index)), mac: 'ab', tag: '' }),
      ),
    )

  it.each([
    ['vault transit', () => `vault:v3:${b64(randomBytes(60))}`, 'Vault transit', 'likely'],
    ['Fernet', () => `gAAAAA${url(randomBytes(96))}`, 'Fernet', 'likely'],
    ['Laravel', laravel, 'Laravel', 'likely'],
    [
      'SOPS',
      () =>
        `ENC[AES256_GCM,data:${b64(randomBytes(8))},iv:${b64(randomBytes(32))},tag:${b64(randomBytes(16))},type:str]`,
      'SOPS',
      'likely',
    ],
    ['AWX', () => `$encrypted$UTF8$AESCBC$${b64(randomBytes(100))}`, 'AWX', 'likely'],
    ['CryptoJS', () => b64(Buffer.concat([Buffer.from('Salted__'), randomBytes(40)])), 'CryptoJS', 'likely'],
    ['Salted__', () => Buffer.concat([Buffer.from('Salted__'), randomBytes(40)]), 'OpenSSL', 'likely'],
    ['Kubernetes', () => `k8s:enc:aescbc:v1:key1:${b64(randomBytes(48))}`, 'Kubernetes', 'likely'],
    [
      'a key of another home',
      (i: number) => b64(blob(gcm(strange, text(i)))),
      'base64 text of high entropy',
      'likely',
    ],
    ['raw bytes', (i: number) => blob(gcm(strange, text(i))), 'raw bytes of high entropy', 'likely'],
  ])('is named by what it looks like: %s', async (_, write, words, confidence) => {
    const rows = numbers(20).map((index): Row => ({ password: write(index), name: `row ${index}` }))
    const { finds } = await discoverIn({ sqlite: databaseOf(rows) }, [trialKey(key)])
    expect(finds).toMatchObject([{ columns: ['password'], opens: {}, level: 'unknown', confidence }])
    expect(finds[0]?.looks).toContain(words)
    const first = rows[0]?.['password']
    const printed = JSON.stringify(finds, (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    )
    for (const at of [0, 8, 16]) {
      const piece = Buffer.from(first as string)
        .toString('latin1')
        .slice(20 + at, 28 + at)
      expect(printed).not.toContain(piece)
    }
  })

  it.each([
    ['names', (i: number) => `Person ${i} of a long list of people`],
    ['uuids', () => randomUUID()],
    ['digests', (i: number) => createHash('sha256').update(String(i)).digest('hex')],
    ['bcrypt', () => `$2b$12$${b64(randomBytes(40)).replaceAll(/[+=]/g, '.')}`],
    [
      'tokens that are signed',
      () => `eyJhbGciOiJIUzI1NiJ9.eyJ${url(randomBytes(40))}.${url(randomBytes(32))}`,
    ],
    ['addresses', (i: number) => `https://example.com/${url(randomBytes(40))}?page=${i}`],
    ['pictures', () => Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), randomBytes(200)])],
    ['numbers', (i: number) => 10 ** 14 + i],
    ['JSON', (i: number) => JSON.stringify({ name: `row ${i}`, tags: ['a', 'b'], count: i })],
    ['versions', (i: number) => `v1.${i}.0`],
    ['nothing', () => ''],
  ])('is not reported where it is something else: %s', async (_, write) => {
    const rows = numbers(30).map((index): Row => ({ value: write(index) }))
    const { finds, records } = await discoverIn({ sqlite: databaseOf(rows) }, [trialKey(key)])
    expect(finds).toEqual([])
    expect(records).toBeGreaterThanOrEqual(30)
  })
})

describe('files', () => {
  it('are looked at as whole values, and in documents as members', async () => {
    const directory = newDirectory()
    mkdirSync(join(directory, 'docs'))
    for (const index of numbers(5)) {
      writeFileSync(join(directory, 'docs', `${index}.bin`), blob(gcm(key, text(index))))
      const { nonce, ct, tag } = gcm(key, text(index))
      const spread = { iv: b64(nonce), tag: b64(tag), ciphertext: b64(ct) }
      const single = { encrypted: true, value: b64(blob(gcm(key, text(index)))) }
      writeFileSync(
        join(directory, `${index}.json`),
        JSON.stringify({ env: { A: single }, spread, n: index }, null, 2),
      )
    }
    const files = await discoverIn({ directory, match: 'docs/*' }, [trialKey(key)])
    expect(files.finds).toMatchObject([{ columns: ['content'], opens: { 'master@1': 5 } }])
    expect(files.finds[0]?.declaration).not.toContain('table:')
    const documents = await discoverIn({ directory, match: '*.json', format: 'json' }, [trialKey(key)])
    expect(documents.finds.map(({ columns, opens }) => [columns, opens]).sort(byText)).toEqual([
      [['env.A.value'], { 'master@1': 5 }],
      [['spread'], { 'master@1': 5 }],
    ])
  })

  it('does not report an object around a member that is declared', async () => {
    const directory = newDirectory()
    for (const index of numbers(4)) {
      const value = { $binary: { base64: b64(blob(gcm(key, text(index)))), subType: '00' } }
      writeFileSync(join(directory, `${index}.json`), JSON.stringify({ value, n: index }))
    }
    const columns = new Set(['value.$binary.base64'])
    const declared = [
      { envelope: 'e', place: directory, table: '*.json', columns, layouts: [], covers: () => true },
    ]
    const written = { directory, match: '*.json', format: 'json' }
    expect((await discoverIn(written, [trialKey(key)])).finds).toHaveLength(1)
    expect((await discoverIn(written, [trialKey(key)], { declared })).finds).toEqual([])
  })

  it('says which tables it could not look at, and goes on', async () => {
    const directory = newDirectory()
    writeFileSync(join(directory, '1.json'), '{"a": "y"}')
    // No cell could hold this number.
    writeFileSync(join(directory, '2.json'), '{"a": 1e999}')
    const { unseen, finds } = await discoverIn({ directory, match: '*.json', format: 'json' }, [])
    expect(finds).toEqual([])
    expect(unseen).toMatchObject([{ store: 'app', table: '*.json' }])
  })
})
