import { KvxError } from '../../core/errors.ts'
import type { S3Client } from './client.ts'

/** The object on which conditions are tried; it is never a record. */
export const probeName = '.kvx-probe'

/** An object as a listing names it. */
export type Listed = { readonly key: string; readonly size: number }

/** Every object below a prefix, in the order of the UTF-8 bytes of the keys. Memory holds one page of 1,000. */
export async function* listObjects(client: S3Client, prefix: string): AsyncGenerator<Listed> {
  for (let token: string | undefined; ; ) {
    const page = await client.send(
      'GET',
      {
        query: {
          'list-type': '2',
          'encoding-type': 'url',
          'max-keys': '1000',
          prefix,
          ...(token === undefined ? {} : { 'continuation-token': token }),
        },
      },
      [],
    )
    const text = documentOf(client, 'ListBucketResult', page.bytes)
    for (const [, entry = ''] of text.matchAll(/<Contents>([^]*?)<\/Contents>/g)) {
      yield { key: decodeKey(textOf(entry, 'Key') ?? ''), size: Number(textOf(entry, 'Size') ?? '0') }
    }
    token = textOf(text, 'NextContinuationToken')
    if (textOf(text, 'IsTruncated') !== 'true' || token === undefined) return
  }
}

export type OldVersions = { readonly versions: number; readonly markers: number }

/** What a bucket with versions keeps besides what is read: replaced and deleted objects, and the marks of deletion. */
export async function countOldVersions(client: S3Client, prefix: string): Promise<OldVersions> {
  const state = await client.send('GET', { query: { versioning: '' } }, [501])
  if (!/<Status>(Enabled|Suspended)<\/Status>/.test(state.bytes.toString('utf8')))
    return { versions: 0, markers: 0 }
  let [versions, markers] = [0, 0]
  for (let next: Readonly<Record<string, string>> = {}; ; ) {
    const page = await client.send(
      'GET',
      { query: { versions: '', 'encoding-type': 'url', 'max-keys': '1000', prefix, ...next } },
      [],
    )
    const text = documentOf(client, 'ListVersionsResult', page.bytes)
    for (const [, kind, entry = ''] of text.matchAll(/<(Version|DeleteMarker)>([^]*?)<\/\1>/g)) {
      if (decodeKey(textOf(entry, 'Key') ?? '') === `${prefix}${probeName}`) continue
      if (kind === 'DeleteMarker') markers++
      else if (textOf(entry, 'IsLatest') !== 'true') versions++
    }
    const marker = textOf(text, 'NextKeyMarker')
    if (textOf(text, 'IsTruncated') !== 'true' || marker === undefined) return { versions, markers }
    const version = textOf(text, 'NextVersionIdMarker')
    next = {
      'key-marker': decodeKey(marker),
      ...(version === undefined ? {} : { 'version-id-marker': version }),
    }
  }
}

/** The text of the document: a page of some proxy in its place would otherwise read as an empty bucket. */
function documentOf(client: S3Client, element: string, bytes: Buffer): string {
  const text = bytes.toString('utf8')
  if (text.includes(`<${element}`) && text.trimEnd().endsWith(`</${element}>`)) return text
  throw new KvxError(
    'STORE_UNAVAILABLE',
    `store ${client.name} (${client.place}) answered without a ${element}`,
    { hint: 'Look at the endpoint in kvx.yaml: what answers there is no S3.' },
  )
}

/** The text of the first element of this name. Documents of S3 have neither attributes nor sections there. */
export function textOf(xml: string, element: string): string | undefined {
  const found = new RegExp(`<${element}>([^<]*)</${element}>`).exec(xml)?.[1]
  return found
    ?.replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replace(/&#(x[0-9a-f]+|\d+);/gi, (_, code: string) =>
      String.fromCodePoint(/^x/i.test(code) ? Number.parseInt(code.slice(1), 16) : Number(code)),
    )
    .replaceAll('&amp;', '&')
}

function decodeKey(text: string): string {
  return decodeURIComponent(text.replaceAll('+', '%20'))
}
