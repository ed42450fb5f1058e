import type { S3Client } from './client.ts'

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
          prefix,
          ...(token === undefined ? {} : { 'continuation-token': token }),
        },
      },
      [],
    )
    const text = page.bytes.toString('utf8')
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
      { query: { versions: '', 'encoding-type': 'url', prefix, ...next } },
      [],
    )
    const text = page.bytes.toString('utf8')
    for (const [, entry = ''] of text.matchAll(/<Version>([^]*?)<\/Version>/g)) {
      if (textOf(entry, 'IsLatest') !== 'true') versions++
    }
    markers += [...text.matchAll(/<DeleteMarker>/g)].length
    const marker = textOf(text, 'NextKeyMarker')
    if (textOf(text, 'IsTruncated') !== 'true' || marker === undefined) return { versions, markers }
    const version = textOf(text, 'NextVersionIdMarker')
    next = {
      'key-marker': decodeKey(marker),
      ...(version === undefined ? {} : { 'version-id-marker': version }),
    }
  }
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
