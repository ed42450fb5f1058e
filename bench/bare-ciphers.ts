import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

export type BareRecord = {
  readonly dek: Uint8Array
  /** In base64. */
  readonly value: string
  readonly aad: string
}

export type BareWork = {
  readonly keks: readonly [Uint8Array, Uint8Array]
  readonly records: readonly BareRecord[]
  readonly count: number
}

/** What the ciphers themselves take: unwrap the DEK, open the value with it, wrap the DEK. */
export function bareCiphers({ keks: [first, second], records, count }: BareWork): void {
  const [old, next] = [createSecretKey(first), createSecretKey(second)]
  for (let at = 0; at < count; at++) {
    const { dek: wrapped, value, aad } = records[at % records.length] as BareRecord
    const dek = open(old, wrapped, undefined)
    open(createSecretKey(dek), Buffer.from(value, 'base64'), Buffer.from(aad))
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', next, nonce)
    Buffer.concat([nonce, cipher.update(dek), cipher.final(), cipher.getAuthTag()])
    dek.fill(0)
  }
}

function open(key: KeyObject, sealed: Uint8Array, aad: Buffer | undefined): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 })
  if (aad !== undefined) decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

/** The same work in a thread, as often as it is asked. */
export class BareThread {
  readonly #worker: Worker

  constructor(work: BareWork) {
    this.#worker = new Worker(new URL('bare-worker.ts', import.meta.url), { workerData: work })
  }

  async run(): Promise<void> {
    this.#worker.postMessage('go', [])
    await once(this.#worker, 'message')
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}
