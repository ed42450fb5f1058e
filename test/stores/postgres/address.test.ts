import { afterEach, expect, it, vi } from 'vitest'
import { parseConfig } from '../../../src/config/config.ts'
import { expandVariables } from '../../../src/config/secret-source.ts'
import { mysqlDefaults, serverPlace } from '../../../src/config/server-place.ts'
import { storePlace, storeTerms } from '../../../src/config/stores.ts'
import { verifiedTls } from '../../../src/stores/postgres/server-url.ts'

afterEach(() => vi.unstubAllEnvs())

function placeOf(store: string): string | undefined {
  const { stores } = parseConfig('/srv/kvx.yaml', Buffer.from(`kvx: 1\nstores:\n  app: ${store}\n`))
  const { app } = stores
  return app && storePlace(app)
}

it.each([
  ['postgres://kvx:pw@db.example/app?sslmode=require', 'db.example:5432/app'],
  ['postgresql://kvx@db.example:6432/app%20one', 'db.example:6432/app one'],
  ['postgres://kvx:p%40w@/app?host=/run/postgresql', '/run/postgresql:5432/app'],
  ['postgres:///app?host=/run/postgresql&port=6000', '/run/postgresql:6000/app'],
  ['postgres://kvx@%2Frun%2Fpostgresql/app', '/run/postgresql:5432/app'],
])('names where %s leads, without credentials', (url, place) => {
  vi.stubEnv('DATABASE_URL', url)
  expect(placeOf('{ postgres: "${DATABASE_URL}" }')).toBe(`postgres://${place}`)
  expect(placeOf('{ postgres: "${DATABASE_URL}", schema: a }')).toBe(`postgres://${place}?schema=a`)
})

it('names a MySQL server the same way', () => {
  expect(serverPlace('mysql://u:p@db/shop', mysqlDefaults)).toBe('db:3306/shop')
  expect(serverPlace('mysql://u:p@localhost/shop?socketPath=/run/s', mysqlDefaults)).toBe('/run/s:3306/shop')
})

it('names an address that is not known by where it comes from', () => {
  expect(placeOf('{ postgres: "${NOT_SET_HERE}" }')).toBe('postgres://${NOT_SET_HERE}')
  expect(placeOf('{ postgres: { file: url } }')).toBe('postgres://at /srv/url')
  expect(placeOf('{ mysql: { command: [/bin/pass, show] } }')).toBe('mysql://from /bin/pass show')
})

it('stays the same place when the password changes, so that an open run can go on', () => {
  const terms = () => {
    const { app } = parseConfig(
      '/srv/kvx.yaml',
      Buffer.from('kvx: 1\nstores:\n  app: { postgres: "${DATABASE_URL}" }\n'),
    ).stores
    return app && storeTerms(app)
  }
  vi.stubEnv('DATABASE_URL', 'postgres://a:one@db/app')
  const before = terms()
  vi.stubEnv('DATABASE_URL', 'postgres://b:two@db/app')
  expect(terms()).toEqual(before)
  vi.stubEnv('DATABASE_URL', 'postgres://b:two@other/app')
  expect(terms()).not.toEqual(before)
})

it('writes a variable inside an address so that any password fits', () => {
  vi.stubEnv('PW', 'p@ss:/#?%')
  const url = new URL(expandVariables('postgres://kvx:${PW}@db/app', ''))
  expect([url.hostname, decodeURIComponent(url.password)]).toEqual(['db', 'p@ss:/#?%'])
  expect(expandVariables('${PW}', '')).toBe('p@ss:/#?%')
})

it('verifies the certificate wherever TLS is asked for', () => {
  for (const mode of ['prefer', 'require', 'verify-ca', 'verify-full'])
    expect(verifiedTls(`postgres://db/app?sslmode=${mode}`)).toBe('postgres://db/app?sslmode=verify-full')
  expect(verifiedTls('postgres://db/app?sslmode=disable')).toBe('postgres://db/app?sslmode=disable')
})

it.each([
  '{ postgres: 5 }',
  '{ postgres: { command: [pass] } }',
  '{ postgres: { file: a, env: [B] } }',
  '{ mysql: "mysql://u:p@db/app" }',
  '{ mysql: "${A}", schema: x }',
])('refuses %s', (store) => expect(() => placeOf(store)).toThrow(/^\/srv\/kvx\.yaml:3:\d+: /))
