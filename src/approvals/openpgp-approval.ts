import type { PublicKey } from 'openpgp'
import { exportPublicKey } from '../backup/gpg.ts'
import { primaryProblem, weakness } from '../backup/recipient-key.ts'
import { isKvxError } from '../core/errors.ts'
import { now } from '../platform/clock.ts'
import { readFileCapped } from '../platform/files.ts'

const maxKeyFile = 1024 * 1024

/**
 * Whether a detached OpenPGP signature over `message` is one of this approver's key, which must be good now.
 * @returns `true`; `false` when another key made it; or why it does not count
 */
export async function checkOpenpgpApproval(
  signature: Buffer,
  message: Uint8Array,
  approver: { readonly openpgp: string; readonly 'key-file'?: string | undefined },
): Promise<boolean | string> {
  const { createMessage, enums, readSignature, verify } = await import('openpgp')
  const reading = isArmored(signature)
    ? readSignature({ armoredSignature: signature.toString('latin1') })
    : readSignature({ binarySignature: new Uint8Array(signature) })
  const parsed = await reading.catch(() => undefined)
  const [packet, ...others] = parsed?.packets ?? []
  if (parsed === undefined || packet === undefined || others.length > 0)
    return 'it is not one OpenPGP signature'
  const key = await findKey(approver)
  if (typeof key === 'string') return key
  const keyIds = key.getKeys().map((one) => one.getKeyID().toHex())
  if (!parsed.getSigningKeyIDs().some((id) => keyIds.includes(id.toHex()))) return false
  const at = now()
  const problem = (await primaryProblem(key, at)) ?? weakness(key)
  if (problem !== undefined) return `the key does not count: ${problem}`
  if (packet.signatureType !== enums.signature.binary) return 'it is a signature over text, not over a file'
  try {
    await key.getSigningKey(packet.issuerKeyID, at)
  } catch {
    return 'the key does not count: its signing subkey is expired or revoked'
  }
  const checked = await verify({
    message: await createMessage({ binary: new Uint8Array(message) }),
    signature: parsed,
    verificationKeys: key,
    date: at,
  })
  try {
    await checked.signatures[0]?.verified
    return checked.signatures.length === 1 ? true : 'it is not one OpenPGP signature'
  } catch {
    return 'it is not a valid signature of this file'
  }
}

export function isOpenpgpSignature(bytes: Buffer): boolean {
  // A binary signature is a packet of tag 2, in the old or the new form.
  return isArmored(bytes) || [0x88, 0x89, 0xc2].includes(bytes[0] ?? 0)
}

function isArmored(bytes: Buffer): boolean {
  return bytes.subarray(0, 40).toString('latin1').startsWith('-----BEGIN PGP SIGNATURE-----')
}

/** The public key with exactly this fingerprint, or why there is none. */
async function findKey(approver: {
  readonly openpgp: string
  readonly 'key-file'?: string | undefined
}): Promise<PublicKey | string> {
  const { readKeys } = await import('openpgp')
  const wanted = approver.openpgp.toUpperCase()
  const file = approver['key-file']
  try {
    const bytes =
      file === undefined
        ? await exportPublicKey(wanted)
        : (await readFileCapped(file, { maxBytes: maxKeyFile, follow: true })).bytes
    if (bytes.length === 0)
      return `the public key ${wanted} is not in the keyring of gpg: import it, or name its \`key-file\``
    const isBinary = ((bytes[0] ?? 0) & 0x80) !== 0
    const keys = isBinary
      ? await readKeys({ binaryKeys: new Uint8Array(bytes) })
      : await readKeys({ armoredKeys: bytes.toString('latin1') })
    return (
      keys.find((key) => key.getFingerprint().toUpperCase() === wanted) ??
      `its public key ${wanted} was not found`
    )
  } catch (error) {
    return `its public key ${wanted} cannot be read${isKvxError(error) ? `: ${error.message}` : ''}`
  }
}
