import { createHash, randomBytes } from 'node:crypto'
import { KvxError } from '../../core/errors.ts'
import type { S3Client } from './client.ts'
import { probeName } from './listing.ts'
import { putObject } from './objects.ts'

/** How this server wants an ETag in `If-Match`: in quotes, as the standard has it, or bare (Ceph 16). */
export type Spelling = (etag: string) => string

const quoted: Spelling = (etag) => `"${bare(etag)}"`
const bare: Spelling = (etag) => etag.replace(/^(W\/)?"?|"$/g, '')

/**
 * Proves on an object of kvx's own that the server keeps conditions: creation only where nothing is, replacement
 * only of what was read. A server that ignores one of them would lose an application's write, so that nothing is
 * ever written to it.
 * @throws STORE_SHAPE when it ignores one
 */
export async function proveConditions(client: S3Client, prefix: string): Promise<Spelling> {
  const key = `${prefix}${probeName}`
  const put = async (condition: Readonly<Record<string, string>>): Promise<boolean> =>
    (await putObject(client, key, { bytes: randomBytes(16), kept: {}, condition })) === 'written'
  const absent = { 'if-none-match': '*' }
  await put(absent) // a killed run may have left it
  try {
    if (await put(absent)) throw ignored(client, 'If-None-Match')
    const wrong = createHash('md5').update(randomBytes(16)).digest('hex')
    for (const spelling of [quoted, bare]) {
      if (await put({ 'if-match': spelling(wrong) })) throw ignored(client, 'If-Match')
    }
    for (const spelling of [quoted, bare]) {
      const { headers } = await client.send('HEAD', { key }, [])
      if (await put({ 'if-match': spelling(headers.get('etag') ?? '') })) return spelling
    }
    throw ignored(client, 'If-Match with the right ETag')
  } finally {
    await client.send('DELETE', { key }, [404])
  }
}

function ignored(client: S3Client, header: string): KvxError {
  return new KvxError(
    'STORE_SHAPE',
    `store ${client.name} (${client.place}) does not keep ${header} on writes, so a write of the application could be lost: nothing was changed`,
    {
      hint: 'Use a server with conditional writes (AWS S3, MinIO, R2, Ceph; Ceph 16 has none in a bucket that keeps versions), or work on a copy in a directory and bring it back while the application is stopped.',
    },
  )
}
