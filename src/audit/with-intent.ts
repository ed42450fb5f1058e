import { KvxError, isKvxError } from '../core/errors.ts'
import type { Audit } from './audit.ts'
import type { EntryDraft, Facts } from './entry.ts'

export type Intent = Pick<EntryDraft, 'action' | 'subject' | 'run' | 'data'>

/** What work may say about its end before it returns. */
export type Conclusion = {
  /** Facts for the result entry; a later call adds to an earlier one. */
  readonly conclude: (facts: Facts) => void
  /** The exit code of work that ends well but not with 0, e.g. 3 for findings. */
  readonly exit: (code: number) => void
}

/**
 * Law 10, audit before and after: writes the intent, calls `work`, writes the result. The result entry carries
 * `intent` (the number of the intent entry), `outcome` (`done`, `failed`) and the exit code; for a failure the
 * `error` code as well, and never its message.
 * @throws AUDIT_UNWRITABLE, AUDIT_BROKEN, LOCKED before `work` when the intent can't be written: `work` is not
 * called. After it, AUDIT_UNWRITABLE when the work is done and only the result is missing in the log; else what
 * `work` throws
 */
export async function withIntent<T>(
  audit: Audit,
  intent: Intent,
  work: (conclusion: Conclusion) => Promise<T>,
): Promise<T> {
  const { seq } = await audit.append({ ...intent, phase: 'intent' })
  let facts: Facts = {}
  let exit = 0
  const end = async (outcome: Facts, code: number): Promise<void> => {
    const data = { ...facts, ...outcome, intent: seq }
    await audit.append({ ...intent, phase: 'result', exit: code, data })
  }
  let result: T
  try {
    result = await work({
      conclude: (more) => {
        facts = { ...facts, ...more }
      },
      exit: (code) => {
        exit = code
      },
    })
  } catch (error) {
    const { code, exit: failed } = isKvxError(error) ? error : { code: 'BUG', exit: 1 }
    await end({ outcome: 'failed', error: code }, failed).catch(() => {
      throw withoutResult(error)
    })
    throw error
  }
  await end({ outcome: 'done' }, exit).catch((error: unknown) => {
    throw resultMissing(error, intent)
  })
  return result
}

/** The failure of the work counts more than that of the log, but says that the log does not know of it. */
function withoutResult(error: unknown): unknown {
  if (!isKvxError(error)) return error
  return new KvxError(error.code, `${error.message}; the audit log took no result entry`, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    details: error.details,
  })
}

function resultMissing(error: unknown, intent: Intent): unknown {
  if (!isKvxError(error)) return error
  return new KvxError(
    error.code,
    `${intent.action} is done, but its result is not in the audit log: ${error.message}`,
    { ...(error.hint === undefined ? {} : { hint: error.hint }), details: error.details },
  )
}
