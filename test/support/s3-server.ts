import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * A stand-in for S3 inside of the test's process, with the semantics of conditional writes, metadata, tags, listing
 * and versions as the AWS documentation has them. It is no S3: signatures are not checked beyond their presence.
 * Real servers are for `npm run test:slow`.
 */
export type S3Habits = {
  /** `If-Match` in quotes (the standard), bare (Ceph 16), or without any effect (s3rver). */
  readonly ifMatch: 'quoted' | 'bare' | 'ignored'
  readonly ifNoneMatch: 'kept' | 'ignored'
  readonly versioning: boolean
  /** Keys a page of a listing. */
  readonly pageSize: number
}

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
  /** Called before an object is written, so that a test can write in that very moment. */
  beforePut: ((key: string) => void) | undefined
  /** Ends the connection after the next write of this key, without an answer. */
  swallowAnswerOf: string | undefined
  readonly requests: string[] = []
  readonly #server = createServer((request, response) => void this.#answer(request, response))

  constructor(habits: Partial<S3Habits> = {}) {
    this.habits = { ifMatch: 'quoted', ifNoneMatch: 'kept', versioning: false, pageSize: 1000, ...habits }
  }

  async start(): Promise<this> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done))
    return this
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
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
      etag: createHash('md5').update(bytes).update(randomBytes(8)).digest('hex'),
      headers,
      tags,
    })
  }

  remove(key: string): void {
    if (!this.objects.delete(key)) return
    this.#remember(key)
    if (this.habits.versioning) this.old.push({ key, isMarker: true })
  }

  #remember(key: string): void {
    if (this.habits.versioning) this.old.push({ key, isMarker: false })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const url = new URL(request.url ?? '/', this.endpoint)
    const [, bucket = '', ...rest] = url.pathname.split('/')
    const key = rest.map(decodeURIComponent).join('/')
    this.requests.push(`${request.method ?? ''} ${key}${url.search}`)
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
    if (key === '') return send(200, this.#bucket(url.searchParams))
    const found = this.objects.get(key)
    if (request.method === 'PUT') return this.#put(key, Buffer.concat(chunks), { request, response, send })
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
    at: { request: IncomingMessage; response: ServerResponse; send: (status: number, body?: string) => void },
  ): void {
    this.beforePut?.(key)
    const { headers } = at.request
    const found = this.objects.get(key)
    const match = headers['if-match']
    if (match !== undefined && this.habits.ifMatch !== 'ignored') {
      if (found === undefined) return at.send(404, code('NoSuchKey'))
      const wanted = this.habits.ifMatch === 'quoted' ? `"${found.etag}"` : found.etag
      if (match !== wanted) return at.send(412, code('PreconditionFailed'))
    }
    if (headers['if-none-match'] === '*' && found !== undefined && this.habits.ifNoneMatch === 'kept') {
      return at.send(412, code('PreconditionFailed'))
    }
    const own = Object.fromEntries(
      Object.entries(headers).flatMap(([name, value]) =>
        kept.test(name) && typeof value === 'string' ? [[name, value]] : [],
      ),
    )
    const tags = headers['x-amz-tagging']
    this.put(key, bytes, own, typeof tags === 'string' ? tags : '')
    if (this.swallowAnswerOf === key) {
      this.swallowAnswerOf = undefined
      at.response.destroy()
    } else at.send(200)
  }

  #bucket(query: URLSearchParams): string {
    if (query.has('versioning')) {
      return `<VersioningConfiguration>${this.habits.versioning ? '<Status>Enabled</Status>' : ''}</VersioningConfiguration>`
    }
    const prefix = query.get('prefix') ?? ''
    if (query.has('versions')) return this.#versions(prefix)
    const after = query.get('continuation-token') ?? ''
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

  #versions(prefix: string): string {
    const latest = [...this.objects.keys()].filter((key) => key.startsWith(prefix))
    const old = this.old.filter(({ key }) => key.startsWith(prefix))
    const version = (key: string, isLatest: boolean): string =>
      `<Version><Key>${encoded(key)}</Key><IsLatest>${String(isLatest)}</IsLatest></Version>`
    return [
      '<ListVersionsResult><IsTruncated>false</IsTruncated>',
      ...latest.map((key) => version(key, true)),
      ...old.map(({ key, isMarker }) =>
        isMarker ? `<DeleteMarker><Key>${encoded(key)}</Key></DeleteMarker>` : version(key, false),
      ),
      '</ListVersionsResult>',
    ].join('')
  }
}

const code = (text: string): string => `<Error><Code>${text}</Code><Message>not for logs</Message></Error>`
const encoded = (key: string): string => encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/')
const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

function tagging(tags: string): string {
  const all = [...new URLSearchParams(tags)].map(
    ([name, value]) => `<Tag><Key>${escaped(name)}</Key><Value>${escaped(value)}</Value></Tag>`,
  )
  return `<Tagging><TagSet>${all.join('')}</TagSet></Tagging>`
}
