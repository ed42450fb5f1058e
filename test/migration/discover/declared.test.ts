import { expect, it } from 'vitest'
import { parseConfig } from '../../../src/config/config.ts'
import { declaredColumns, sameTable } from '../../../src/migration/discover/declared.ts'

it.each([
  ['secrets', 'public.secrets', true],
  ['Secrets', 'secrets', true],
  ['"a.b"', 'x."a.b"', true],
  ['one.secrets', 'two.secrets', false],
  ['secrets', 'secret', false],
])('%s and %s mean the same table: %s', (one, other, same) => {
  expect(sameTable(one, other)).toBe(same)
})

it('names every column that an envelope declares, for the files that its pattern names', () => {
  const text = `kvx: 1
keys: { master: { purpose: kek } }
stores: { docs: { directory: /srv/docs, match: "**/*.json", format: json }, app: { sqlite: /srv/app.db } }
envelopes:
  files: { store: docs, key: master, table: "a/*.json", value: { column: Token, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" } }
  rows:
    store: app
    table: T
    id: id
    key: master
    version: kek
    dek: { column: wrap, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }
    value: [{ aead: aes-256-gcm, layout: { iv: "nonce:12", body: "ct tag:16" } }]
`
  const declared = declaredColumns(parseConfig('/srv/kvx.yaml', Buffer.from(text)))
  expect(declared.map(({ place, table, columns }) => [place, table, [...columns].sort()])).toEqual([
    ['/srv/docs', 'a/*.json', ['token']],
    ['/srv/app.db', 'T', ['body', 'iv', 'kek', 'wrap']],
  ])
  expect(['a/1.json', 'b/1.json'].map((path) => declared[0]?.covers(['path'], [path]))).toEqual([true, false])
})
