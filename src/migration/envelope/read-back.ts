import type { Hash } from 'node:crypto'
import { KvxError } from '../../core/errors.ts'
import type { Envelope } from './envelope.ts'

/** What the store gave back is not what was meant. Thrown inside the transaction, so that nothing of it stays. */
export function readBackFailed({ name }: Envelope, what: string): KvxError {
  return new KvxError(
    'READ_BACK_FAILED',
    `${name}: a record that was just written ${what}; the batch was rolled back`,
    {
      hint: 'Something changes values on their way (a trigger, a generated column, another program), or the declaration is wrong. `kvx verify` shows what lies there.',
    },
  )
}

/** Adds one plaintext with its length, so that no two lists of plaintexts give the same digest. */
export function addPlaintext(hash: Hash, plaintext: Uint8Array): void {
  const length = Buffer.alloc(8)
  length.writeBigUInt64BE(BigInt(plaintext.length))
  hash.update(length).update(plaintext)
}
