import { renderTemplate } from '../../templates/render.ts'
import { findTemplate } from '../../templates/template.ts'

type KitFile = { readonly name: string; readonly bytes: Buffer }

/**
 * What lets people rebuild a key who have no kvx: the template `recovery`. It lies beside the shares.
 * @param auditFingerprint of the audit key that signs the manifest of the shares
 */
export async function recoveryKit(auditFingerprint: string): Promise<readonly KitFile[]> {
  const kit = await findTemplate('recovery')
  return renderTemplate(kit, { 'audit-fingerprint': auditFingerprint }).map(({ path, bytes }) => ({
    name: path,
    bytes,
  }))
}
