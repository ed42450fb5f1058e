import { type IncomingMessage, request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'

export type S3Answer = { readonly status: number; readonly headers: Headers; readonly bytes: Buffer }

type Signed = {
  readonly method: string
  readonly url: URL
  readonly headers: Headers
  readonly body: Uint8Array | undefined
}

/**
 * One request and its whole answer, in the bytes that the server sent: `fetch` would unpack an object that carries
 * a Content-Encoding, and the object's own bytes are the record. Of an answer that says it is longer than
 * `maxBytes` only status and headers come back.
 * @throws when there is no whole answer after `timeoutMs`
 */
export async function exchange(
  { method, url, headers, body }: Signed,
  { timeoutMs, maxBytes }: { readonly timeoutMs: number; readonly maxBytes: number },
): Promise<S3Answer> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const send = url.protocol === 'https:' ? requestTls : requestPlain
    const sent = send(url, {
      method,
      headers: {
        ...Object.fromEntries(headers),
        ...(body && { 'content-length': String(body.length) }),
      },
      signal: AbortSignal.timeout(timeoutMs),
    })
    sent.on('response', resolve).on('error', reject).end(body)
  })
  const answer = { status: response.statusCode ?? 0, headers: headersOf(response) }
  if (method !== 'HEAD' && Number(answer.headers.get('content-length') ?? '0') > maxBytes) {
    response.destroy()
    return { ...answer, bytes: Buffer.alloc(0) }
  }
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return { ...answer, bytes: Buffer.concat(chunks) }
}

function headersOf({ rawHeaders }: IncomingMessage): Headers {
  const headers = new Headers()
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    headers.append(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '')
  }
  return headers
}
