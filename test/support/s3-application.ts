import { request } from 'node:http'
import { AwsV4Signer } from 'aws4fetch'

/** A bucket on a server of the test, in this process or not. */
export type S3Site = { readonly endpoint: string; readonly bucket: string }

export const credentials = { accessKeyId: 'id', secretAccessKey: 'secret' }

type Headers = Readonly<Record<string, string>>
type Wish = { readonly query?: string; readonly headers?: Headers; readonly body?: string | Buffer }
export type S3Reply = { readonly status: number; readonly headers: Headers; readonly bytes: Buffer }

export type StoredObject = { readonly bytes: Buffer; readonly headers: Headers; readonly tags: Headers }

/** The application that a bucket belongs to: requests of its own, never through the driver. */
export class S3Application {
  readonly site: S3Site

  constructor(site: S3Site) {
    this.site = site
  }

  /** `key` is '' for the bucket itself. Headers go out as they are, also where they are wrong. */
  async send(method: string, key: string, { query = '', headers = {}, body }: Wish = {}): Promise<S3Reply> {
    const path = key.split('/').map(encode).join('/')
    const url = `${this.site.endpoint}/${this.site.bucket}${path === '' ? '' : `/${path}`}${query}`
    const signed = await new AwsV4Signer({ method, url, headers, service: 's3', ...credentials }).sign()
    return await new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
      // A test that waits for kvx misses that an idle connection ended, so each request has its own.
      const options = {
        agent: false as const,
        method,
        headers: { ...Object.fromEntries(signed.headers), ...length },
      }
      const sent = request(signed.url, options, (response) => {
        const chunks: Buffer[] = []
        const end = (): void =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers as Headers,
            bytes: Buffer.concat(chunks),
          })
        response
          .on('data', (chunk: Buffer) => chunks.push(chunk))
          .on('end', end)
          .on('error', reject)
      })
      sent.on('error', reject).end(body)
    })
  }

  async put(key: string, body: string | Buffer, headers: Headers = {}, tags = ''): Promise<void> {
    const all = { ...headers, ...(tags === '' ? {} : { 'x-amz-tagging': tags }) }
    this.#good(await this.send('PUT', key, { headers: all, body }))
  }

  async get(key: string): Promise<StoredObject | undefined> {
    const found = await this.send('GET', key)
    if (found.status === 404) return undefined
    const tagging = this.#good(await this.send('GET', key, { query: '?tagging=' })).bytes.toString()
    const tags = [...tagging.matchAll(/<Key>(.*?)<\/Key><Value>(.*?)<\/Value>/g)]
    return {
      bytes: this.#good(found).bytes,
      headers: Object.fromEntries(Object.entries(found.headers).filter(([name]) => own.test(name))),
      tags: Object.fromEntries(tags.map(([, name, value]) => [name, value])),
    }
  }

  async remove(key: string): Promise<void> {
    this.#good(await this.send('DELETE', key))
  }

  /** By the older listing, which the driver does not use. */
  async keys(): Promise<string[]> {
    const keys: string[] = []
    for (let isTruncated = true; isTruncated; ) {
      const marker = encode(keys.at(-1) ?? '')
      const page = await this.send('GET', '', { query: `?encoding-type=url&marker=${marker}&max-keys=1000` })
      const text = this.#good(page).bytes.toString()
      for (const [, key = ''] of text.matchAll(/<Key>(.*?)<\/Key>/g))
        keys.push(decodeURIComponent(unescapeXml(key).replaceAll('+', '%20')))
      isTruncated = text.includes('<IsTruncated>true<')
    }
    return keys
  }

  /** Every object and its text. */
  async texts(): Promise<Record<string, string>> {
    const all: Record<string, string> = {}
    for (const key of await this.keys()) all[key] = (await this.get(key))?.bytes.toString() ?? ''
    return all
  }

  async keepVersions(status: 'Enabled' | 'Suspended' = 'Enabled'): Promise<void> {
    const body = `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>${status}</Status></VersioningConfiguration>`
    this.#good(await this.send('PUT', '', { query: '?versioning=', body }))
  }

  #good(reply: S3Reply): S3Reply {
    if (reply.status < 300) return reply
    throw new Error(`${this.site.bucket}: ${reply.status} ${reply.bytes.toString()}`)
  }
}

/** What an application gave an object besides its bytes. */
const own = /^(content-(type|encoding|language|disposition)|cache-control|expires|x-amz-meta-.*)$/

export const unescapeXml = (text: string): string =>
  text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&')

const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
