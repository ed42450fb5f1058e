import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Passes an S3 server's requests on, and lets a test act in the very moment of a write. */
export class S3Proxy {
  /** Called with the key before a write is passed on. */
  beforePut: ((key: string) => Promise<void>) | undefined
  /** Called with the key before a read of an object is passed on. */
  beforeGet: ((key: string) => Promise<void>) | undefined
  /** Ends the connection after the next write of this key, without its answer. */
  swallowAnswerOf: string | undefined
  /** Answers the next write of this key with a fault in place of the server. */
  failAt: string | undefined
  readonly #target: string
  readonly #server = createServer((from, to) => void this.#pass(from, to))

  constructor(target: string) {
    this.#target = target
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

  async #pass(from: IncomingMessage, to: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of from) chunks.push(chunk as Buffer)
    const [, , ...rest] = new URL(from.url ?? '/', this.#target).pathname.split('/')
    const key = rest.map(decodeURIComponent).join('/')
    if (from.method === 'PUT') await this.beforePut?.(key)
    if (from.method === 'GET') await this.beforeGet?.(key)
    if (from.method === 'PUT' && this.failAt === key) {
      this.failAt = undefined
      to.writeHead(500).end()
      return
    }
    // The host stays as it was, since the signature is over it.
    const options = { method: from.method, path: from.url, headers: from.headers }
    const sent = request(this.#target, options, (answer) => {
      if (from.method === 'PUT' && this.swallowAnswerOf === key) {
        this.swallowAnswerOf = undefined
        to.destroy()
      } else {
        to.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
        answer.pipe(to)
      }
    })
    sent.on('error', () => to.destroy()).end(Buffer.concat(chunks))
  }
}
