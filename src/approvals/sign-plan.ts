import { resolve } from 'node:path'
import { createFile } from '../platform/create-file.ts'
import { sshNamespace } from './approvals.ts'
import { signDetached, type SigningWith } from './detached-signature.ts'
import type { ReadPlanFile } from './plan-file.ts'

export type SignedPlan = { readonly file: string; readonly fingerprint: string }

/**
 * Signs the bytes of a plan and puts the signature beside it, never over another file.
 * @param interactive lets gpg and ssh-keygen ask for a passphrase or a touch
 * @throws TOOL_MISSING, TOOL_FAILED, TARGET_EXISTS
 */
export async function signPlan(
  plan: ReadPlanFile,
  path: string,
  signing: SigningWith,
  interactive: boolean,
): Promise<SignedPlan> {
  const made = await signDetached(plan.bytes, signing, { namespace: sshNamespace, interactive })
  const file = `${resolve(path)}.${made.suffix}`
  await createFile(file, made.signature, { mode: 0o644 })
  return { file, fingerprint: made.fingerprint }
}
