/** Sealed objects in a bucket, from the first look to the retired key. The server is a stand-in in this process. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { afterAll, expect, test } from 'vitest'
import { Folder } from '../support/folder.ts'
import { S3Server } from '../support/s3-server.ts'

const folder = new Folder()
const server = new S3Server({ pageSize: 10, versioning: true })
afterAll(async () => {
  folder.close()
  await server.stop()
})

function seal(key: Buffer, text: string): string {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64')
}

function open(key: Buffer, sealed: string): string {
  const bytes = Buffer.from(sealed, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12), { authTagLength: 16 })
  decipher.setAuthTag(bytes.subarray(-16))
  return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString()
}

type Census = { readonly envelopes: readonly { byVersion: Record<string, number> }[] }
type Discovered = { readonly finds: readonly { columns: string[]; opens: Record<string, number> }[] }

test('documents in a bucket move to a new key', async () => {
  await server.start()
  const key = randomBytes(32)
  const count = 25
  const secrets = Array.from({ length: count }, (_, index) => `secret ${index}`)
  secrets.forEach((secret, index) => {
    const document = JSON.stringify({ id: index, token: seal(key, secret) })
    server.put(`tenants/${index % 3}/${index}.json`, document, { 'content-type': 'application/json' })
  })
  server.put('elsewhere/1.json', '{"token":"not ours"}')
  const stores = [
    `  objects:`,
    `    s3: { endpoint: "${server.endpoint}", bucket: app, prefix: tenants/, access-key-id: "\${S3_ID}", secret-access-key: "\${S3_SECRET}" }`,
    `    match: "**/*.json"`,
    `    format: json`,
  ]
  const env = { S3_ID: 'id', S3_SECRET: 'secret' }
  const run = async <T>(...args: string[]) => {
    const document = await folder.start<T>(env, ...args)
    return document
  }
  folder.begin({ key, purpose: 'data', stores, envelopes: ['  {}'] })
  const found = await run<Discovered>('discover')
  expect(found.data.finds).toMatchObject([{ columns: ['token'], opens: { 'master@1': count } }])

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
  expect(verified.data.envelopes).toMatchObject([{ byVersion: { 'master@2': count } }])
  expect(verified.warnings.map(({ code }) => code)).toContain('OLD_VERSIONS')
  const newKey = folder.bytes('keys/app.key')
  const ours = [...server.objects].filter(([name]) => name.startsWith('tenants/'))
  expect(ours).toHaveLength(count)
  for (const [, { bytes, headers }] of ours) {
    const { id, token } = JSON.parse(bytes.toString()) as { id: number; token: string }
    expect(open(newKey, token)).toBe(secrets[id])
    expect(headers['content-type']).toBe('application/json')
  }
  const retired = await run('retire', 'master@1', '--confirm', 'master@1')
  expect([retired.exit, retired.error]).toEqual([0, undefined])

  const without = await folder.start({}, 'verify')
  expect(without.error).toMatchObject({ code: 'CONFIG_INVALID' })
  expect(without.error?.message).toContain('S3_ID is not set')
})
