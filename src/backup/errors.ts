import { KvxError, type ErrorCode } from '../core/errors.ts'

/** Why a backup could not be opened; stands in `details.reason` of the error. */
export type OpenProblem =
  | 'no-secret-key'
  | 'locked'
  | 'other-key'
  | 'damaged'
  | 'no-integrity'
  | 'truncated'
  | 'not-encrypted'
  | 'passphrase-only'
  | 'several-messages'
  | 'not-openpgp'
  | 'no-agent'

/** A refusal that says in `details.reason` which case it is. */
export function openRefusal(code: ErrorCode, reason: OpenProblem, message: string, hint?: string): KvxError {
  return new KvxError(code, message, { ...(hint === undefined ? {} : { hint }), details: { reason } })
}

export type BackupWarning = { readonly code: string; readonly message: string }
