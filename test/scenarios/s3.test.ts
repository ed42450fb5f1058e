/** Sealed objects in a bucket, from the first look to the retired key: on a stand-in, and on Debian's Ceph gateway. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, test, type TestContext } from 'vitest'
import { objectOf, textOf, vectorNamed } from '../core/layout/vector-reader.ts'
import { type CephGateway, cephMissing, startCeph } from '../support/ceph.ts'
import { Folder } from '../support/folder.ts'
import { postgresMissing, type PostgresServer, startPostgres } from '../support/postgres.ts'
import { credentials, S3Application, type S3Site } from '../support/s3-application.ts'
import { ProfileSite } from './profiles-site.ts'

const env = { S3_ACCESS_KEY_ID: credentials.accessKeyId, S3_SECRET_ACCESS_KEY: credentials.secretAccessKey }

function seal(key: Buffer, text: string): string {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64')
}

function open(key: Buffer, sealed: string, nonce = 12): Buffer {
  const bytes = Buffer.from(sealed, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonce), { authTagLength: 16 })
  decipher.setAuthTag(bytes.subarray(-16))
  return Buffer.concat([decipher.update(bytes.subarray(nonce, -16)), decipher.final()])
}

type Census = { readonly envelopes: readonly { byVersion: Record<string, number> }[] }
type Discovered = { readonly finds: readonly { columns: string[]; opens: Record<string, number> }[] }

const standIn = fileURLToPath(new URL('../support/s3-server-process.ts', import.meta.url))

/** An empty bucket on a stand-in in a process of its own, since the tests wait for kvx in this one. */
async function standInBucket(): Promise<S3Site> {
  const child = spawn(process.execPath, [standIn])
  onTestFinished(() => void child.kill())
  child.stderr.pipe(process.stderr)
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return { endpoint: line.toString().trim(), bucket: 'app' }
}

let postgres: PostgresServer | undefined
afterAll(async () => postgres?.stop())
async function database(context: TestContext): Promise<PostgresServer> {
  const missing = postgresMissing()
  if (missing !== undefined) context.skip(missing)
  return (postgres ??= await startPostgres())
}

describe('on a stand-in for S3', () => describeScenarios(standInBucket, { versions: true }))

const missing = cephMissing()
describe("on Debian's Ceph gateway", () => {
  if (missing !== undefined) return it('sealed objects in a bucket', (context) => context.skip(missing))
  let gateway: CephGateway | undefined
  beforeAll(async () => {
    gateway = await startCeph()
  })
  afterAll(async () => gateway?.stop())
  // Ceph 16 keeps no condition in a bucket with versions, so that nothing is written to one.
  describeScenarios(async () => (gateway ??= await startCeph()).createBucket(), { versions: false })
})

function describeScenarios(
  createBucket: () => Promise<S3Site>,
  { versions }: { readonly versions: boolean },
): void {
  test('documents in a bucket move to a new key', async () => {
    const site = await createBucket()
    const application = new S3Application(site)
    if (versions) await application.keepVersions()
    const folder = new Folder()
    onTestFinished(() => folder.close())
    const key = randomBytes(32)
    const secrets = Array.from({ length: 25 }, (_, index) => `secret ${index}`)
    for (const [index, secret] of secrets.entries()) {
      const document = JSON.stringify({ id: index, token: seal(key, secret) })
      await application.put(`tenants/${index % 3}/${index}.json`, document, {
        'content-type': 'application/json',
      })
    }
    await application.put('elsewhere/1.json', '{"token":"not ours"}')
    const stores = [
      `  objects:`,
      `    s3: { endpoint: "${site.endpoint}", bucket: ${site.bucket}, prefix: tenants/, access-key-id: "\${S3_ACCESS_KEY_ID}", secret-access-key: "\${S3_SECRET_ACCESS_KEY}" }`,
      `    match: "**/*.json"`,
      `    format: json`,
    ]
    const run = async <T>(...args: string[]) => await folder.start<T>(env, ...args)
    folder.begin({ key, purpose: 'data', stores, envelopes: ['  {}'] })
    const found = await run<Discovered>('discover')
    expect(found.data.finds).toMatchObject([{ columns: ['token'], opens: { 'master@1': 25 } }])

    const envelopes = [
      '  app.tokens:',
      '    store: objects',
      '    key: master',
      '    value: { column: token, aead: aes-256-gcm, layout: "base64(nonce:12 ct tag:16)" }',
    ]
    folder.configure({ purpose: 'data', stores, envelopes })
    expect((await run('verify')).error).toBeUndefined()
    const untested = ['--without-backup', '--reason', 'a test system']
    expect((await run('rotate', 'master', '--offline', '--yes', ...untested)).error).toBeUndefined()
    expect((await run('reencrypt', '--yes')).error).toBeUndefined()
    const verified = await run<Census>('verify')
    expect(verified.data.envelopes).toMatchObject([{ byVersion: { 'master@2': 25 } }])
    expect(verified.warnings.some(({ code }) => code === 'OLD_VERSIONS')).toBe(versions)
    const newKey = folder.bytes('keys/app.key')
    const ours = (await application.keys()).filter((name) => name.startsWith('tenants/'))
    expect(ours).toHaveLength(25)
    for (const name of ours) {
      const { bytes, headers } = (await application.get(name)) ?? {}
      const { id, token } = JSON.parse(String(bytes)) as { id: number; token: string }
      expect(open(newKey, token).toString()).toBe(secrets[id])
      expect(headers?.['content-type']).toBe('application/json')
    }
    const retired = await run('retire', 'master@1', '--confirm', 'master@1')
    expect([retired.exit, retired.error]).toEqual([0, undefined])

    const without = await folder.start({}, 'verify')
    expect(without.error).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(without.error?.message).toContain('S3_ACCESS_KEY_ID is not set')
  })

  test('origan: every copy of a DEK moves, in PostgreSQL and in the deployments', async (context) => {
    const server = await database(context)
    const vector = vectorNamed('02-origan')
    const row = objectOf(vector['row'])
    const [wrapped, variables] = [textOf(row['encrypted_dek']), JSON.stringify(row['variables'])]
    const kek = Buffer.from(textOf(objectOf(vector['kek'])['hex']), 'hex')
    const metadata = (dek: string): string =>
      `{\n  "projectId": "p1",\n  "encryptedDEK": ${JSON.stringify(dek)},\n  "environmentVariables": ${variables}\n}\n`
    const url = await server.createDatabase()
    await server.sql(
      url,
      `CREATE TABLE project (id text PRIMARY KEY, encrypted_dek text);
       CREATE TABLE environment_revisions (id text PRIMARY KEY, project_id text, variables jsonb)`,
    )
    await server.sql(url, 'INSERT INTO project VALUES ($1, $2)', ['p1', wrapped])
    await server.sql(url, 'INSERT INTO environment_revisions VALUES ($1, $2, $3)', ['r1', 'p1', variables])
    const bucket = await createBucket()
    const application = new S3Application(bucket)
    const deployments = ['d1', 'd2', 'd3'].map((name) => `deployments/${name}/metadata.json`)
    const type = { 'content-type': 'application/json', 'x-amz-meta-build': '7' }
    for (const name of deployments) await application.put(name, metadata(wrapped), type)
    await application.put('deployments/d1/index.html', '<p>the site</p>')

    const edits = [
      ['https://s3.example.com', bucket.endpoint],
      ['bucket: origan', `bucket: ${bucket.bucket}`],
      ['cache-ttl: 5m', 'cache-ttl: 1s'],
    ] as const
    const site = new ProfileSite('origan', edits, { ...env, DATABASE_URL: url })
    onTestFinished(() => site.close())
    site.write('codec.env', `KEK_SECRET=${kek.toString('base64')}\n`)
    site.ok('key', 'import', 'kek')
    expect(site.census()).toEqual({
      'origan.variables': { 'kek@1': 2 },
      'origan.deployments': { 'kek@1': 3 },
    })
    site.rotate('kek')
    const dek = objectOf(vector['dek'])['hex']
    const [project] = await server.sql(url, 'SELECT encrypted_dek FROM project')
    expect(open(site.material('kek', 2), String(project?.['encrypted_dek']), 16).toString('hex')).toBe(dek)
    for (const name of deployments) {
      const { bytes, headers } = (await application.get(name)) ?? {}
      const { encryptedDEK: moved } = JSON.parse(String(bytes)) as { encryptedDEK: string }
      expect(open(site.material('kek', 2), moved, 16).toString('hex')).toBe(dek)
      expect(() => open(kek, moved, 16)).toThrow()
      expect([String(bytes), headers]).toEqual([metadata(moved), type])
    }
    // A deployment that comes back from somewhere holds the key, until it moved too.
    await application.put('deployments/d4/metadata.json', metadata(wrapped))
    const refused = site.json('retire', 'kek@1', '--confirm', 'kek@1')
    expect([refused.exit, refused.error?.code]).toEqual([6, 'VALUES_REMAIN'])
    site.convert('rewrap')
    site.retire('kek@1')
    expect((await application.get('deployments/d1/index.html'))?.bytes.toString()).toBe('<p>the site</p>')
  })
}
