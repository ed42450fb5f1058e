import { createHash } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { S3Site } from './s3-application.ts'

/**
 * A stand-in for S3 inside of the test's process, held to the same list of behaviours as Debian's Ceph gateway
 * (`test/stores/s3/server-behaviours.ts`; the real one runs in `npm run test:slow`). It is no S3: signatures are not
 * checked beyond their presence.
 */
export type S3Habits = {
  readonly dialect: S3Dialect
  /** Conditions that are left out, as s3rver leaves both. */
  readonly ignored: readonly ('if-match' | 'if-none-match')[]
  /** Keys a page of a listing. */
  readonly pageSize: number
}

/**
 * `aws` as its documentation has it. `ceph-16` wants the ETag bare, answers 412 where AWS answers 404, and keeps no
 * condition in a bucket with versions: there every `If-Match` is refused and no `If-None-Match`.
 */
export type S3Dialect = 'aws' | 'ceph-16'

type Stored = {
  readonly bytes: Buffer
  readonly etag: string
  readonly headers: Readonly<Record<string, string>>
  readonly tags: string
}

const kept =
  /^(content-type|cache-control|content-disposition|content-encoding|content-language|expires|x-amz-meta-.*|x-amz-storage-class)$/

export class S3Server {
  readonly habits: S3Habits
  readonly objects = new Map<string, Stored>()
  /** Replaced and deleted ones, where versions are kept. */
  readonly old: { readonly key: string; readonly isMarker: boolean }[] = []
  #versioning = false
  readonly #server = createServer((request, response) => void this.#answer(request, response))

  constructor(habits: Partial<S3Habits> = {}) {
    this.habits = { dialect: 'aws', ignored: [], pageSize: 1000, ...habits }
  }

  async start(): Promise<this> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done))
    return this
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get site(): S3Site {
    return { endpoint: this.endpoint, bucket: 'app' }
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((done) => this.#server.close(done))
  }

  /** What the application does by itself. */
  put(
    key: string,
    content: string | Buffer,
    headers: Readonly<Record<string, string>> = {},
    tags = '',
  ): void {
    const bytes = Buffer.from(content)
    if (this.objects.has(key)) this.#remember(key)
    this.objects.set(key, {
      bytes,
      etag: createHash('md5').update(bytes).digest('hex'),
      headers,
      tags,
    })
  }

  remove(key: string): void {
    if (!this.objects.delete(key)) return
    this.#remember(key)
    if (this.#versioning) this.old.push({ key, isMarker: true })
  }

  #remember(key: string): void {
    if (this.#versioning) this.old.push({ key, isMarker: false })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const url = new URL(request.url ?? '/', this.endpoint)
    const [, bucket = '', ...rest] = url.pathname.split('/')
    const key = rest.map(decodeURIComponent).join('/')
    const send = (
      status: number,
      body: string | Buffer = '',
      headers: Readonly<Record<string, string>> = {},
    ): void => {
      response.writeHead(status, { ...headers, 'content-length': String(Buffer.byteLength(body)) })
      response.end(request.method === 'HEAD' ? undefined : body)
    }
    if (request.headers.authorization?.startsWith('AWS4-HMAC-SHA256 ') !== true)
      return send(403, code('AccessDenied'))
    if (bucket !== 'app') return send(404, code('NoSuchBucket'))
    const body = Buffer.concat(chunks)
    if (key === '') {
      if (request.method === 'PUT') this.#versioning = body.includes('>Enabled<')
      return send(200, request.method === 'PUT' ? '' : this.#bucket(url.searchParams))
    }
    const found = this.objects.get(key)
    if (request.method === 'PUT') return this.#put(key, body, { request, send })
    if (request.method === 'DELETE') {
      this.remove(key)
      return send(204)
    }
    if (found === undefined) return send(404, code('NoSuchKey'))
    if (url.searchParams.has('tagging')) return send(200, tagging(found.tags))
    const headers = { ...found.headers, etag: `"${found.etag}"` }
    if (request.method === 'HEAD') {
      response.writeHead(200, { ...headers, 'content-length': String(found.bytes.length) })
      response.end()
    } else send(200, found.bytes, headers)
  }

  #put(
    key: string,
    bytes: Buffer,
    { request: { headers }, send }: { request: IncomingMessage; send: Send },
  ): void {
    const digest = headers['x-amz-content-sha256']
    if (digest !== 'UNSIGNED-PAYLOAD' && digest !== createHash('sha256').update(bytes).digest('hex'))
      return send(400, code('XAmzContentSHA256Mismatch'))
    const refusal = this.#refusal(key, headers)
    if (refusal !== undefined)
      return send(refusal, code(refusal === 404 ? 'NoSuchKey' : 'PreconditionFailed'))
    const own = Object.fromEntries(
      Object.entries(headers).flatMap(([name, value]) =>
        kept.test(name) && typeof value === 'string' ? [[name, value]] : [],
      ),
    )
    const tags = headers['x-amz-tagging']
    this.put(key, bytes, own, typeof tags === 'string' ? tags : '')
    send(200, '', { etag: `"${this.objects.get(key)?.etag ?? ''}"` })
  }

  /** The status with which the conditions of a write refuse it. */
  #refusal(key: string, headers: IncomingHttpHeaders): 404 | 412 | undefined {
    const { dialect, ignored } = this.habits
    const found = this.objects.get(key)
    const match = ignored.includes('if-match') ? undefined : headers['if-match']
    const none = ignored.includes('if-none-match') ? undefined : headers['if-none-match']
    if (dialect === 'ceph-16' && this.#versioning) return match === undefined ? undefined : 412
    if (none === '*' && found !== undefined) return 412
    if (match === undefined) return undefined
    if (found === undefined) return dialect === 'aws' ? 404 : 412
    return match === (dialect === 'aws' ? `"${found.etag}"` : found.etag) ? undefined : 412
  }

  #bucket(query: URLSearchParams): string {
    if (query.has('versioning')) {
      return `<VersioningConfiguration>${this.#versioning ? '<Status>Enabled</Status>' : ''}</VersioningConfiguration>`
    }
    const prefix = query.get('prefix') ?? ''
    if (query.has('versions')) return this.#versions(prefix, Number(query.get('version-id-marker') ?? '0'))
    const after = query.get('continuation-token') ?? query.get('marker') ?? ''
    const keys = [...this.objects.keys()]
      .filter(
        (key) =>
          key.startsWith(prefix) &&
          (after === '' || Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0),
      )
      .sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))
    const page = keys.slice(0, this.habits.pageSize)
    const isTruncated = page.length < keys.length
    const entries = page.map((key) => {
      const { etag, bytes } = this.objects.get(key) ?? { etag: '', bytes: Buffer.alloc(0) }
      return `<Contents><Key>${encoded(key)}</Key><ETag>&quot;${etag}&quot;</ETag><Size>${bytes.length}</Size></Contents>`
    })
    const next = isTruncated
      ? `<NextContinuationToken>${escaped(page.at(-1) ?? '')}</NextContinuationToken>`
      : ''
    return `<?xml version="1.0"?><ListBucketResult><IsTruncated>${String(isTruncated)}</IsTruncated>${entries.join('')}${next}</ListBucketResult>`
  }

  /** An entry's place in the list serves as the id of its version. */
  #versions(prefix: string, from: number): string {
    const version = (key: string, isLatest: boolean): string =>
      `<Version><Key>${encoded(key)}</Key><IsLatest>${String(isLatest)}</IsLatest></Version>`
    const all = [
      ...[...this.objects.keys()].map((key) => ({ key, text: version(key, true) })),
      ...this.old.map(({ key, isMarker }) => ({
        key,
        text: isMarker ? `<DeleteMarker><Key>${encoded(key)}</Key></DeleteMarker>` : version(key, false),
      })),
    ].filter(({ key }) => key.startsWith(prefix))
    const end = from + this.habits.pageSize
    const next = `<NextKeyMarker>${encoded(all[end - 1]?.key ?? '')}</NextKeyMarker><NextVersionIdMarker>${end}</NextVersionIdMarker>`
    const isTruncated = end < all.length
    return [
      `<ListVersionsResult><IsTruncated>${String(isTruncated)}</IsTruncated>${isTruncated ? next : ''}`,
      ...all.slice(from, end).map(({ text }) => text),
      '</ListVersionsResult>',
    ].join('')
  }
}

type Send = (status: number, body?: string, headers?: Readonly<Record<string, string>>) => void

const code = (text: string): string => `<Error><Code>${text}</Code><Message>not for logs</Message></Error>`
const encoded = (key: string): string =>
  encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/').replaceAll("'", '&apos;')
const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

function tagging(tags: string): string {
  const all = [...new URLSearchParams(tags)].map(
    ([name, value]) => `<Tag><Key>${escaped(name)}</Key><Value>${escaped(value)}</Value></Tag>`,
  )
  return `<Tagging><TagSet>${all.join('')}</TagSet></Tagging>`
}
