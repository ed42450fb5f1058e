import type { PublicKey } from 'openpgp'
import { KvxError } from '../core/errors.ts'
import { randomBytes } from '../platform/random.ts'
import { type Packet, packetTags, readFraming, recipientKeyId } from './packets.ts'
import type { Recipient } from './recipients.ts'

type EncryptTo = Pick<Recipient, 'publicKey' | 'keyId' | 'fingerprint'>

/**
 * Encrypts to all recipients and returns one armored message: version 3 session key packets with plain key
 * ids, one SEIPDv1 packet with AES-256, an empty file name, no compression: what gpg 2.2 opens.
 * openpgp.js keeps a few copies of the plaintext that nobody can wipe: run it in a process that ends soon.
 * @throws KvxError RECIPIENT_UNUSABLE when a key stopped being valid; BACKUP_UNUSABLE when the message that
 * was made is not as said above
 */
export async function encryptToRecipients(
  plaintext: Uint8Array,
  recipients: readonly EncryptTo[],
): Promise<Uint8Array> {
  if (recipients.length === 0) throw new KvxError('USAGE', 'a backup needs at least one recipient')
  const { createMessage, encrypt, enums } = await import('openpgp')
  const keys = await Promise.all(recipients.map(readRecipient))
  // A session key of our own, without an AEAD algorithm, keeps openpgp.js from SEIPDv2 for keys that ask for it.
  const sessionKey = randomBytes(32)
  let armored: string
  try {
    armored = await encrypt({
      message: await createMessage({ binary: plaintext, filename: '' }),
      encryptionKeys: keys.map(({ key }) => key),
      encryptionKeyIDs: keys.map(({ keyId }) => keyId),
      sessionKey: { data: sessionKey, algorithm: 'aes256' },
      wildcard: false,
      config: { aeadProtect: false, preferredCompressionAlgorithm: enums.compression.uncompressed },
    })
  } catch {
    throw new KvxError('RECIPIENT_UNUSABLE', 'a recipient key cannot be encrypted to any more', {
      hint: 'look at the keys with `gpg --list-keys`',
      details: { recipients: recipients.map((recipient) => recipient.fingerprint) },
    })
  } finally {
    sessionKey.fill(0)
  }
  const message = Buffer.from(armored, 'latin1')
  checkSealed(message, recipients)
  return message
}

type Target = { readonly key: PublicKey; readonly keyId: ReturnType<PublicKey['getKeyID']> }

async function readRecipient(recipient: EncryptTo): Promise<Target> {
  const { readKey } = await import('openpgp')
  const key = await readKey({ binaryKey: recipient.publicKey })
  const part = key
    .getKeys()
    .find((candidate) => candidate.getKeyID().toHex().toUpperCase() === recipient.keyId)
  if (part !== undefined) return { key, keyId: part.getKeyID() }
  throw new KvxError(
    'RECIPIENT_UNUSABLE',
    `the key ${recipient.fingerprint} has no subkey ${recipient.keyId}`,
  )
}

/**
 * Reads back what was written, with kvx's own parser: session keys of version 3 for exactly the chosen
 * subkeys, then one SEIPD packet of version 1, nothing else.
 * @throws KvxError BACKUP_UNUSABLE
 */
export function checkSealed(message: Uint8Array, recipients: readonly Pick<Recipient, 'keyId'>[]): void {
  const { packets, problem } = readFraming(message)
  const sessionKeys = packets.slice(0, -1)
  const data = packets.at(-1)
  const found = sessionKeys.map(recipientKeyId).sort()
  const wanted = recipients.map((recipient) => recipient.keyId).sort()
  const isRight =
    problem === undefined &&
    sessionKeys.every((packet) => isVersion(packet, packetTags.pkesk, 3)) &&
    data !== undefined &&
    isVersion(data, packetTags.seipd, 1) &&
    found.join() === wanted.join()
  if (isRight) return
  throw new KvxError(
    'BACKUP_UNUSABLE',
    'the message that was made is not one that gpg 2.2 opens for all recipients',
    {
      hint: 'nothing was written; report this with the versions that `kvx --version` and `gpg --version` show',
      details: { found, wanted },
    },
  )
}

function isVersion(packet: Packet, tag: number, version: number): boolean {
  return packet.tag === tag && packet.body[0] === version
}
