import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import { appendFileSync } from 'node:fs'
import { afterAll, afterEach, describe, expect, test, type TestContext } from 'vitest'
import { KeyFolder, withoutBackup } from '../support/key-folder.ts'
import { type MariadbServer, mariadbMissing, startMariadb } from '../support/mariadb.ts'
import { type PostgresServer, postgresMissing, startPostgres } from '../support/postgres.ts'

// What columns of database servers make of what is written into them: first sealings, their way back, discover.

const open: KeyFolder[] = []
afterEach(() => {
  for (const folder of open.splice(0)) folder.close()
})
let postgres: PostgresServer | undefined
let mariadb: MariadbServer | undefined
afterAll(async () => {
  await postgres?.stop()
  await mariadb?.stop()
})

type Server = PostgresServer | MariadbServer

async function running(context: TestContext, driver: 'postgres' | 'mysql'): Promise<Server> {
  const reason = driver === 'postgres' ? postgresMissing() : mariadbMissing()
  if (reason !== undefined) context.skip(reason)
  return driver === 'postgres' ? (postgres ??= await startPostgres()) : (mariadb ??= await startMariadb())
}

/** An application whose key lies in app.key. */
function folderOf(
  key: Buffer,
  store: string,
  envelope: readonly string[],
  env: Record<string, string> = {},
): KeyFolder {
  const sections = `stores: { app: ${store} }\nenvelopes:\n`
  const members = ['  app.notes:', '    store: app', '    table: notes', '    id: id', '    key: master']
  const declared = [...members, ...envelope.map((line) => `    ${line}`), ''].join('\n')
  const rest = envelope.length === 0 ? sections : `${sections}${declared}`
  const folder = new KeyFolder(['{ file: app.key, previous: app.old }'], { 'app.key': key }, rest)
  open.push(folder)
  Object.assign(folder.env, env)
  folder.ok('key', 'import', 'master')
  return folder
}

function openGcm(key: Buffer, sealed: Buffer): string {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 })
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]).toString()
}

function sealGcm(key: Buffer, text: string): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()])
}

const sealedJson =
  'value: { column: body, aead: aes-256-gcm, layout: \'json({"v": "2", "data": base64(nonce:12 ct tag:16)})\' }'

test('a first sealing into jsonb comes back byte for byte, although the server spells its documents anew', async (context) => {
  const server = await running(context, 'postgres')
  const url = await server.createDatabase()
  await server.sql(url, 'CREATE TABLE notes (id int PRIMARY KEY, body jsonb)')
  for (const id of [1, 2]) await server.sql(url, 'INSERT INTO notes VALUES ($1, $2)', [id, `"note ${id}"`])
  const key = randomBytes(32)
  const folder = folderOf(key, '{ postgres: "${DATABASE_URL}" }', [sealedJson, 'plaintext: true'], {
    DATABASE_URL: url,
  })
  const { run } = folder.json('seal', '--yes', ...withoutBackup)
  const bodies = async (): Promise<unknown[]> =>
    (await server.sql(url, 'SELECT body FROM notes ORDER BY id')).map((row) => row['body'])
  const [first] = (await bodies()) as { data: string }[]
  expect(openGcm(key, Buffer.from(first?.data ?? '', 'base64'))).toBe('"note 1"')
  folder.ok('run', 'restore', String(run), '--yes')
  expect(await bodies()).toEqual(['note 1', 'note 2'])
})

test('a number of a version goes into an empty column of text, and comes back', () => {
  const key = randomBytes(32)
  const value = 'value: { column: body, aead: aes-256-gcm, layout: "base64(nonce:12 ct tag:16)" }'
  const folder = folderOf(key, '{ sqlite: app.db }', [value, 'version: kek'])
  const database = new DatabaseSync(folder.file('app.db'))
  database.exec('CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, kek TEXT)')
  const sealed = sealGcm(key, 'note').toString('base64')
  database.prepare('INSERT INTO notes VALUES (1, ?, NULL)').run(sealed)
  const { run } = folder.json('rotate', 'master', '--offline', '--then', 'data', '--yes', ...withoutBackup)
  const row = (): Record<string, unknown> => ({ ...database.prepare('SELECT body, kek FROM notes').get() })
  expect(row()['kek']).toBe('2')
  expect(openGcm(folder.material(2), Buffer.from(String(row()['body']), 'base64'))).toBe('note')
  folder.ok('run', 'restore', String(run), '--yes')
  expect(row()).toEqual({ body: sealed, kek: null })
  database.close()
})

describe.each([
  ['PostgreSQL', 'postgres', 'bytea', '$1, $2'],
  ['MariaDB', 'mysql', 'varbinary(200)', '?, ?'],
] as const)('discover on %s', (_, driver, bytes, marks) => {
  test('finds what nothing declares, retire refuses for it, and the printed declaration moves it', async (context) => {
    const server = await running(context, driver)
    const url = await server.createDatabase()
    await server.sql(
      url,
      `CREATE TABLE "tokens" (id int PRIMARY KEY, hidden ${bytes}, note varchar(40))`.replaceAll(
        '"',
        driver === 'mysql' ? '`' : '"',
      ),
      [],
    )
    const key = randomBytes(32)
    for (const id of [1, 2, 3]) {
      await server.sql(url, `INSERT INTO tokens (id, hidden) VALUES (${marks})`, [
        id,
        sealGcm(key, `token ${id}`),
      ])
    }
    const folder = folderOf(key, `{ ${driver}: "\${DATABASE_URL}" }`, [], { DATABASE_URL: url })
    folder.ok('rotate', 'master', '--offline', '--yes', ...withoutBackup)
    const refused = folder.json('retire', 'master@1', '--confirm', 'master@1')
    expect(refused).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
    expect(refused.error?.message).toContain('"hidden" (master@1)')
    type Found = { finds: { table: string; columns: string[]; opens: object; declaration: string }[] }
    const { data, exit } = folder.json<Found>('discover')
    expect(exit).toBe(3)
    expect(data.finds).toMatchObject([{ columns: ['hidden'], opens: { 'master@1': 3 } }])
    appendFileSync(folder.file('kvx.yaml'), data.finds[0]?.declaration ?? '')
    folder.ok('reencrypt', '--yes')
    const rows = await server.sql(url, 'SELECT hidden FROM tokens ORDER BY id', [])
    expect(rows.map((row) => openGcm(folder.material(2), row['hidden'] as Buffer))).toEqual([
      'token 1',
      'token 2',
      'token 3',
    ])
    folder.ok('retire', 'master@1', '--confirm', 'master@1')
  })
})

describe.each([
  ['PostgreSQL', 'postgres', 'uuid'],
  ['MariaDB', 'mysql', 'int'],
] as const)('a first sealing on %s', (_, driver, other) => {
  const value = (layout: string): string => `value: { column: body, aead: aes-256-gcm, layout: '${layout}' }`
  const text = value('base64(nonce:12 ct tag:16)')

  test.for([
    ['is too short for the longest value', 'varchar(60)', text, /it has 84 characters, and 60 are allowed/],
    ['takes no bytes', 'text', value('nonce:12 ct tag:16'), /does not take bytes that are no text/],
    ['takes no text at all', other, text, /does not take this text|not hold/],
  ] as const)(
    'is refused at the plan where a column %s, with nothing changed',
    async ([, type, layout, why], context) => {
      const server = await running(context, driver)
      const url = await server.createDatabase()
      await server.sql(url, `CREATE TABLE notes (id int PRIMARY KEY, body ${type})`, [])
      const values = { int: '7', uuid: '5b0c0f8e-6f0e-4f4a-9a56-1c2d3e4f5a6b', text: 'a note' }
      const own = Object.entries(values).find(([name]) => name === type)?.[1]
      const texts = own === undefined ? ['a note', 'the longest note that it has, of 35'] : [own]
      for (const [id, body] of texts.entries()) {
        const marks = driver === 'postgres' ? '$1, $2' : '?, ?'
        await server.sql(url, `INSERT INTO notes VALUES (${marks})`, [id, body])
      }
      const folder = folderOf(
        randomBytes(32),
        `{ ${driver}: "\${DATABASE_URL}" }`,
        [layout, 'plaintext: true'],
        { DATABASE_URL: url },
      )
      const before = await server.sql(url, 'SELECT * FROM notes ORDER BY id', [])
      const refused = folder.json('seal', '--yes', ...withoutBackup)
      expect(refused).toMatchObject({ exit: 2, error: { code: 'STORE_SHAPE' } })
      expect(refused.error?.message).toMatch(why)
      expect(await server.sql(url, 'SELECT * FROM notes ORDER BY id', [])).toEqual(before)
      expect(folder.json<{ runs: object[] }>('run', 'list').data.runs).toEqual([])
    },
  )
})
