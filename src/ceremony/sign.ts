import { join } from 'node:path'
import { signDocument } from '../audit/signed-document.ts'
import type { Signer } from '../audit/signer.ts'
import type { GpgOptions } from '../backup/gpg.ts'
import { KvxError } from '../core/errors.ts'
import { isoNow } from '../platform/clock.ts'
import { createFile } from '../platform/create-file.ts'
import { exists, makeDirectory } from '../platform/files.ts'
import type { CeremonyFolder } from './folder.ts'
import { signWithGpg, verifyWithGpg } from '../backup/gpg-signature.ts'
import type { CeremonyRecord } from './record.ts'

export const auditSignatureSchema = 'kvx.ceremony-signature/1'
export const auditSignatureName = 'audit-key.json'

/**
 * The signature of a role over the bytes of `record.json`, as `signatures/ROLE.asc`: plain `gpg --verify` takes it.
 * @returns the file
 * @throws USAGE for a role without an OpenPGP key in the record, TARGET_EXISTS, TOOL_FAILED
 */
export async function signAsRole(
  folder: CeremonyFolder,
  signed: { readonly record: CeremonyRecord; readonly bytes: Uint8Array },
  role: string,
  options: GpgOptions,
): Promise<string> {
  const person = signed.record.roles.find((one) => one.role === role)
  if (person === undefined) {
    throw new KvxError('USAGE', `the record has no role ${role}`, {
      hint: `Its roles are ${signed.record.roles.map((one) => one.role).join(', ')}.`,
    })
  }
  if (person.openpgp === null) {
    throw new KvxError('USAGE', `the record names no OpenPGP key for ${role}`, {
      hint: 'They sign the printed record by hand. A key is named in the plan: `kvx ceremony plan KIND NAME --role ROLE=NAME=FINGERPRINT`.',
    })
  }
  const path = join(folder.signatures, `${role}.asc`)
  await refuseSecond(path, role)
  const signature = await signWithGpg(signed.bytes, person.openpgp, options)
  const verdict = await verifyWithGpg(signed.bytes, signature, options)
  if (verdict.state !== 'good') {
    throw new KvxError('READ_BACK_FAILED', 'the signature that gpg made does not verify', {
      hint: 'Is the public key in this keyring? See `gpg --list-keys`.',
    })
  }
  await makeDirectory(folder.signatures, 0o700)
  await createFile(path, signature, { mode: 0o644 })
  return path
}

/** The signature of the home's audit key, as `signatures/audit-key.json`. @throws TARGET_EXISTS */
export async function signAsHome(
  folder: CeremonyFolder,
  signed: { readonly record: CeremonyRecord; readonly sha256: string },
  signer: Signer,
): Promise<string> {
  const path = join(folder.signatures, auditSignatureName)
  await refuseSecond(path, 'the audit key')
  const document = signDocument(
    { schema: auditSignatureSchema, ceremony: signed.record.ceremony, sha256: signed.sha256, at: isoNow() },
    signer,
  )
  await makeDirectory(folder.signatures, 0o700)
  await createFile(path, Buffer.from(`${JSON.stringify(document, null, 2)}\n`), { mode: 0o644 })
  return path
}

async function refuseSecond(path: string, who: string): Promise<void> {
  if (!(await exists(path))) return
  throw new KvxError('TARGET_EXISTS', `${who} has signed already`, {
    hint: 'Check it with `kvx ceremony verify FOLDER`.',
  })
}
