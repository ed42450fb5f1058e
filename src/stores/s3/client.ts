import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { KvxError } from '../../core/errors.ts'
import { exchange, type S3Answer } from './exchange.ts'

export type S3Options = {
  readonly name: string
  /** `https://s3.example.com`; the bucket stands in the path. */
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export type S3Request = {
  /** Of an object; missing for the bucket itself. */
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
}

type Method = 'GET' | 'HEAD' | 'PUT' | 'DELETE'

export type S3Client = {
  readonly name: string
  readonly place: string
  /** Answers that a caller knows by their status come back; everything else throws STORE_UNAVAILABLE. */
  send(method: Method, request: S3Request, known: readonly number[]): Promise<S3Answer>
}

/** Whole objects are read; of a longer answer the bytes are left out. */
export const maxAnswerBytes = 64 * 1_048_576
const timeoutMs = 120_000
/** How often something is tried that may pass, with pauses that double. */
export const tries = 4
export const pauseMs = 200

/** Requests with AWS signature version 4. Nothing of a request or an answer's body reaches a message. */
export async function openClient(options: S3Options): Promise<S3Client> {
  const { AwsV4Signer } = await import('aws4fetch')
  /** Names and values of headers are bytes, one a character; the signature is over these bytes. */
  class Signer extends AwsV4Signer {
    override async canonicalString(): Promise<string> {
      return Buffer.from(await super.canonicalString(), 'latin1').toString('utf8')
    }
  }
  const { name, endpoint, bucket, region, accessKeyId, secretAccessKey } = options
  const credentials = { region, accessKeyId, secretAccessKey, service: 's3' }
  const base = `${endpoint.replace(/\/+$/, '')}/${encodeURIComponent(bucket)}`
  const place = `s3://${new URL(endpoint).host}/${bucket}`
  const once = async (method: Method, request: S3Request): Promise<S3Answer> => {
    const { key, query = {}, body } = request
    const url = `${base}${key === undefined ? '' : `/${encodeKey(key)}`}${queryText(query)}`
    // The server compares the body with the digest before it takes it.
    const headers = { ...request.headers, ...(body && { 'x-amz-content-sha256': sha256(body) }) }
    const signed = await new Signer({ method, url, headers, ...credentials }).sign()
    return await exchange({ ...signed, body }, { timeoutMs, maxBytes: maxAnswerBytes })
  }
  return {
    name,
    place,
    async send(method, request, known) {
      // What was perhaps done already is not sent again blindly: a conditional write is looked at instead.
      const isLook = method === 'GET' || method === 'HEAD'
      for (let attempt = 1; ; attempt++) {
        const response = await once(method, request).catch(() => undefined)
        if (response !== undefined && (isGood(response.status) || known.includes(response.status)))
          return response
        const isPassing = response === undefined || response.status >= 500 || response.status === 429
        if (!isLook || !isPassing || attempt === tries) throw unavailable(name, place, response)
        await sleep(pauseMs * 2 ** attempt)
      }
    },
  }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const isGood = (status: number): boolean => status >= 200 && status < 300

function encodeKey(key: string): string {
  return key
    .split('/')
    .map((part) =>
      encodeURIComponent(part).replace(
        /[!'()*]/g,
        (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
      ),
    )
    .join('/')
}

function queryText(query: Readonly<Record<string, string>>): string {
  const text = Object.entries(query)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join('&')
  return text === '' ? '' : `?${text}`
}

function unavailable(name: string, place: string, response: S3Answer | undefined): KvxError {
  const store = `store ${name} (${place})`
  if (response === undefined) {
    return new KvxError('STORE_UNAVAILABLE', `${store} does not answer`, {
      hint: 'Look at the endpoint in kvx.yaml and at the network.',
    })
  }
  const { status } = response
  const code = /<Code>([A-Za-z]{1,60})<\/Code>/.exec(response.bytes.subarray(0, 4096).toString('latin1'))?.[1]
  const what = `${store} answered ${status}${code === undefined ? '' : ` ${code}`}`
  const hints: Readonly<Record<number, string>> = {
    301: 'The bucket lies in another region: write it as `region`.',
    403: 'Look at the access key, and at its rights: s3:GetObject, PutObject, ListBucket, GetObjectTagging, PutObjectTagging, ListBucketVersions, GetBucketVersioning, DeleteObject for kvx’s own probe.',
    404: 'Look at the names of the bucket and the endpoint in kvx.yaml.',
  }
  const hint = hints[status] ?? 'Run the command again when the store answers.'
  return new KvxError(status === 404 ? 'STORE_SHAPE' : 'STORE_UNAVAILABLE', what, { hint })
}
