import { resolve } from 'node:path'
import { expect, it } from 'vitest'
import { isKvxError } from '../../../src/core/errors.ts'
import { isStoreUrl, storeOfUrl } from '../../../src/migration/discover/store-url.ts'

it.each([
  ['sqlite:app.db', { driver: 'sqlite', sqlite: resolve('app.db') }],
  ['directory:/srv/data', { driver: 'directory', directory: '/srv/data', match: '**', format: 'file' }],
  [
    'directory:/srv/data?match=*.db&format=records&record-size=8220',
    { driver: 'directory', match: '*.db', format: 'records', 'record-size': 8220 },
  ],
])('%s is a place', (text, config) => {
  expect(isStoreUrl(text)).toBe(true)
  expect(storeOfUrl(text).config).toMatchObject(config)
})

it.each([
  'sqlite:',
  'directory:/srv?format=records',
  'directory:/srv?format=yaml',
  'directory:/srv?owner=me',
  'redis://u:secret@host/0',
])('%s is none, and is not repeated', (text) => {
  try {
    storeOfUrl(text)
    throw new Error('nothing was refused')
  } catch (error) {
    if (!isKvxError(error, 'USAGE')) throw error
    expect(`${error.message} ${error.hint ?? ''}`).not.toContain('secret')
  }
})

it.each(['app', 'app.secrets', 'my-store'])('%s is a name', (text) => {
  expect(isStoreUrl(text)).toBe(false)
})
