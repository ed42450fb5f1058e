import { expect, it } from 'vitest'
import { parseConfig } from '../../src/config/config.ts'
import { storePlace, storeTerms } from '../../src/config/stores.ts'
import { isKvxError } from '../../src/core/errors.ts'

const parse = (store: string) =>
  parseConfig('/srv/kvx.yaml', Buffer.from(`kvx: 1\nstores:\n  docs: ${store}\n`))

function problemOf(store: string): string {
  try {
    parse(store)
  } catch (error) {
    if (isKvxError(error, 'CONFIG_INVALID')) return error.message
    throw error
  }
  return 'none'
}

it.each([
  ['{ directory: d, match: "*", format: records }', 'record-size'],
  ['{ directory: d, match: "*", record-size: 8 }', 'belong together'],
  ['{ directory: d, match: "*", header-size: 8 }', 'is for `format: records`'],
  ['{ directory: d, match: "*", format: records, record-size: 0 }', 'record-size'],
])('refuses %s', (store, words) => {
  expect(problemOf(store)).toContain(words)
})

it('makes the sizes of records a part of what a plan is about', () => {
  const config = parse('{ directory: d, match: "*", format: records, record-size: 8, header-size: 4 }')
  const { docs } = config.stores
  if (docs === undefined) throw new Error('it is there')
  expect(storeTerms(docs)).toMatchObject({ recordSize: 8, headerSize: 4 })
})

const bucket = (members: string): string =>
  `{ s3: { endpoint: "https://s3.example.com", bucket: app, ${members} } }`

it.each([
  [bucket('access-key-id: AKIA, secret-access-key: "${S}"'), 'credential stands in the file'],
  [bucket('access-key-id: "${A}", secret-access-key: "x${S}"'), 'credential stands in the file'],
  [
    '{ s3: { endpoint: "https://u:p@s3", bucket: app, access-key-id: "${A}", secret-access-key: "${S}" } }',
    'endpoint',
  ],
])('refuses a bucket with %s', (store, words) => {
  expect(problemOf(store)).toContain(words)
})

it('names a bucket by its place, without a secret', () => {
  const config = parse(bucket('prefix: t/, access-key-id: "${A}", secret-access-key: { file: s3.key }'))
  const { docs } = config.stores
  if (docs?.driver !== 's3') throw new Error('it is a bucket')
  expect(storePlace(docs)).toBe('s3://s3.example.com/app/t/')
  expect(docs.s3['secret-access-key']).toEqual({ file: '/srv/s3.key' })
  expect(JSON.stringify(storeTerms(docs))).not.toContain('key')
})
