import { KvxError } from '../../core/errors.ts'
import { maxAnswerBytes, type S3Client } from './client.ts'
import { textOf } from './listing.ts'

export type S3Object = {
  readonly bytes: Buffer
  readonly etag: string
  /** What a write must send again, so that the object keeps it: type, metadata, tags. */
  readonly kept: Readonly<Record<string, string>>
}

const keptHeaders = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
  'x-amz-storage-class',
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-aws-kms-key-id',
  'x-amz-website-redirect-location',
]

/** @returns undefined when there is no such object. @throws STORE_SHAPE for one that is too large */
export async function readObject(client: S3Client, key: string): Promise<S3Object | undefined> {
  const found = await client.send('GET', { key }, [404])
  if (found.status === 404) return undefined
  const size = Number(found.headers.get('content-length') ?? '0')
  if (size > maxAnswerBytes) {
    throw new KvxError(
      'STORE_SHAPE',
      `store ${client.name} (${client.place}): an object has ${size} bytes, at most ${maxAnswerBytes} fit`,
      { details: { size } },
    )
  }
  const etag = found.headers.get('etag')
  if (etag === null) throw new KvxError('STORE_UNAVAILABLE', `store ${client.name} gives its objects no ETag`)
  return { bytes: found.bytes, etag, kept: keptOf(found.headers) }
}

function keptOf(headers: Headers): Readonly<Record<string, string>> {
  return Object.fromEntries(
    [...headers].filter(([name]) => keptHeaders.includes(name) || name.startsWith('x-amz-meta-')),
  )
}

/** The object's tags as a write sends them, in no header where it has none. */
export async function readTags(client: S3Client, key: string): Promise<Readonly<Record<string, string>>> {
  const found = await client.send('GET', { key, query: { tagging: '' } }, [404, 501])
  if (found.status !== 200) return {}
  const tags = [...found.bytes.toString('utf8').matchAll(/<Tag>([^]*?)<\/Tag>/g)].map(
    ([, tag = '']) =>
      `${encodeURIComponent(textOf(tag, 'Key') ?? '')}=${encodeURIComponent(textOf(tag, 'Value') ?? '')}`,
  )
  return tags.length === 0 ? {} : { 'x-amz-tagging': tags.join('&') }
}

/** `refused`: the condition does not hold, or the object is gone. */
export type Put = 'written' | 'refused'

export async function putObject(
  client: S3Client,
  key: string,
  write: {
    readonly bytes: Uint8Array
    readonly kept: Readonly<Record<string, string>>
    readonly condition: Readonly<Record<string, string>>
  },
): Promise<Put> {
  const headers = { ...write.kept, ...write.condition }
  // 409: another conditional write of the same object is under way.
  const { status } = await client.send('PUT', { key, headers, body: write.bytes }, [404, 409, 412])
  return status >= 200 && status < 300 ? 'written' : 'refused'
}
