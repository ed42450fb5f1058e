import { createHash, generateKeyPairSync, sign, verify } from 'node:crypto'
import type { Signer, Verifier } from '../../src/backup/manifest.ts'

/** An Ed25519 key that signs, and the verifier of a home that knows this key alone. */
export function makeAuditKey(): { readonly signer: Signer; readonly verify: Verifier } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const publicKeyFingerprint = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
  return {
    signer: { publicKeyFingerprint, sign: (bytes) => sign(null, bytes, privateKey) },
    verify: (bytes, signature, fingerprint) => {
      if (fingerprint !== publicKeyFingerprint) return 'unknown'
      return verify(null, bytes, publicKey, signature) ? 'valid' : 'invalid'
    },
  }
}
