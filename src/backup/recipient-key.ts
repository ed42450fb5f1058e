import type { PublicKey, Subkey } from 'openpgp'
import { shownPath } from '../platform/file-errors.ts'

/** The (sub)key that a message would be encrypted to. */
export type EncryptionKey = {
  readonly subkey: string
  readonly algorithm: string
  readonly expires: Date | null
}

const minRsaBits = 3072
const minPrimaryRsaBits = 2048

/** NIST, Brainpool and the curve25519 of RFC 4880bis in openpgp.js' names: gpg 2.2 opens these. */
const curves = /^(nistP(256|384|521)|brainpoolP(256|384|512)r1|curve25519Legacy)$/

/** What names a key for people: its primary user id, or any where none is valid; control characters escaped. */
export async function userIdOf(key: PublicKey): Promise<string> {
  const primary = await key.getPrimaryUser().catch(() => undefined)
  return shownPath(primary?.user.userID?.userID ?? key.getUserIDs()[0] ?? '').slice(0, 200)
}

/**
 * Checks a key as ceremony.md 4.1 says and picks the (sub)key that openpgp.js will encrypt to.
 * @returns the choice, or the reason why the key cannot be used
 */
export async function examineKey(key: PublicKey, at: Date): Promise<EncryptionKey | string> {
  if (key.keyPacket.version !== 4)
    return `it is a version ${key.keyPacket.version} key, which gpg 2.2 cannot use`
  const problem = unverifiable(key) ?? (await primaryProblem(key, at)) ?? weakness(key)
  if (problem !== undefined) return problem
  let chosen: PublicKey | Subkey
  try {
    chosen = await key.getEncryptionKey(undefined, at)
  } catch {
    return await noEncryptionKey(key, at)
  }
  const unfit = algorithmProblem(chosen)
  if (unfit !== undefined) return unfit
  return {
    subkey: chosen.getFingerprint().toUpperCase(),
    algorithm: algorithmName(chosen),
    expires: earliest([
      await key.getExpirationTime(),
      'mainKey' in chosen ? await chosen.getExpirationTime(at) : null,
    ]),
  }
}

/** openpgp.js 6.3 checks Brainpool signatures with a package that it does not bring along. */
function unverifiable(key: PublicKey): string | undefined {
  const { algorithm, curve = '' } = key.getAlgorithmInfo()
  if (algorithm !== 'ecdsa' || !curve.startsWith('brainpool')) return undefined
  return `kvx cannot check signatures of a ${curve} primary key; a Brainpool subkey of another key is fine`
}

/** Why the key counts for nothing at that time: revoked, expired, from the future, or not signed by itself. */
export async function primaryProblem(key: PublicKey, at: Date): Promise<string | undefined> {
  if (key.getCreationTime() > at) {
    return `it was made in the future (${day(key.getCreationTime())}): check the clock of this machine`
  }
  if (await key.isRevoked(undefined, undefined, at)) return 'it is revoked'
  try {
    await key.verifyPrimaryKey(at)
    return undefined
  } catch {
    const expires = await key.getExpirationTime()
    if (expires instanceof Date && expires <= at) return `it expired on ${day(expires)}`
    return 'it has no valid user id signed by itself'
  }
}

/** Why signatures of the key prove little. */
export function weakness(key: PublicKey): string | undefined {
  const { algorithm, bits } = key.getAlgorithmInfo()
  if (algorithm.startsWith('rsa') && (bits ?? 0) < minPrimaryRsaBits)
    return `RSA of ${bits ?? 0} bits is too weak`
  if (algorithm === 'dsa' || algorithm === 'elgamal') return `${algorithm.toUpperCase()} keys are too weak`
  return undefined
}

/** Says why no (sub)key can be encrypted to: the first of the reasons that an operator can act on. */
async function noEncryptionKey(key: PublicKey, at: Date): Promise<string> {
  const candidates = key.subkeys.filter((subkey) => encrypting.has(subkey.getAlgorithmInfo().algorithm))
  for (const subkey of candidates) {
    const expires = await subkey.getExpirationTime(at)
    if (expires instanceof Date && expires <= at) return `its encryption subkey expired on ${day(expires)}`
    if (subkey.getCreationTime() > at) return `its encryption subkey was made in the future: check the clock`
    const unfit = algorithmProblem(subkey)
    if (unfit !== undefined) return unfit
    if (subkey.revocationSignatures.length > 0) return 'its encryption subkey is revoked'
  }
  return 'it has no subkey for encryption, it only signs'
}

const encrypting: ReadonlySet<string> = new Set([
  'rsaEncryptSign',
  'rsaEncrypt',
  'elgamal',
  'ecdh',
  'x25519',
  'x448',
])

function algorithmProblem(key: PublicKey | Subkey): string | undefined {
  const { algorithm, bits = 0, curve } = key.getAlgorithmInfo()
  if (key.keyPacket.version !== 4) return `its subkey has version ${key.keyPacket.version}`
  if (algorithm === 'rsaEncryptSign' || algorithm === 'rsaEncrypt') {
    return bits >= minRsaBits ? undefined : `RSA of ${bits} bits is too weak; ${minRsaBits} are needed`
  }
  if (algorithm === 'ecdh')
    return curves.test(curve ?? '') ? undefined : `gpg 2.2 does not know its curve ${curve ?? ''}`
  if (algorithm === 'elgamal') return 'Elgamal keys are too weak'
  return `gpg 2.2 cannot open messages to its ${algorithm} subkey`
}

function algorithmName(key: PublicKey | Subkey): string {
  const { algorithm, bits, curve } = key.getAlgorithmInfo()
  return `${algorithm} ${curve ?? bits ?? ''}`.trim()
}

function earliest(times: readonly (Date | number | null)[]): Date | null {
  const dates = times.filter((time) => time instanceof Date)
  return dates.length === 0 ? null : new Date(Math.min(...dates.map((date) => date.getTime())))
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10)
}
