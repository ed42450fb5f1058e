/**
 * The closed catalogue of everything that kvx refuses or fails with, and the exit code of each.
 *
 * A code never changes its meaning. Exit codes are those of the command line contract:
 * 2 usage or configuration · 3 findings · 4 finished in part · 5 cryptographic refusal · 6 gate or safety rule ·
 * 7 approval or share missing, plan differs · 8 locked · 9 something needed is missing or did not answer ·
 * 10 interrupted at a consistent point.
 */
export const errorCatalogue = {
  // 2: usage, configuration, something named does not exist, a target exists already
  USAGE: 2,
  CONFIG_NOT_FOUND: 2,
  CONFIG_INVALID: 2,
  NOT_CONFIRMED: 2,
  NO_TERMINAL: 2,
  SECRET_IN_ARGUMENT: 2,
  KEY_UNKNOWN: 2,
  VERSION_UNKNOWN: 2,
  KEY_EXISTS: 2,
  ENVELOPE_UNKNOWN: 2,
  STORE_UNKNOWN: 2,
  STORE_SHAPE: 2,
  RUN_UNKNOWN: 2,
  BACKUP_UNKNOWN: 2,
  RECIPIENT_UNUSABLE: 2,
  FILE_NOT_FOUND: 2,
  TARGET_EXISTS: 2,
  HOME_EXISTS: 2,
  HOME_NOT_FOUND: 2,
  LAYOUT_INVALID: 2,
  STATE_TRANSITION: 2,
  NOTHING_TO_RESUME: 2,
  INPUT_EMPTY: 2,
  // 3: finished, with findings
  FINDINGS: 3,
  // 4: finished in part, can be resumed
  RECORDS_QUARANTINED: 4,
  WRITER_ACTIVE: 4,
  // 5: cryptographic refusal
  KEY_MALFORMED: 5,
  KEY_WEAK: 5,
  KEY_REUSED: 5,
  WRONG_KEY: 5,
  DAMAGED: 5,
  LAYOUT_MISMATCH: 5,
  FINGERPRINT_DIFFERS: 5,
  CANARY_FAILED: 5,
  LAYOUT_NOT_PROVEN: 5,
  READ_BACK_FAILED: 5,
  UNREADABLE_RECORDS: 5,
  BACKUP_UNUSABLE: 5,
  AUDIT_BROKEN: 5,
  KEYRING_DAMAGED: 5,
  // 6: a gate or a safety rule
  UNSAFE_OWNER: 6,
  UNSAFE_MODE: 6,
  UNSAFE_DIRECTORY: 6,
  UNSAFE_FILE_TYPE: 6,
  UNSAFE_PROCESS: 6,
  ACL_DIFFERS: 6,
  VALUES_REMAIN: 6,
  PLACE_MISSING: 6,
  ROLLOUT_NOT_DECLARED: 6,
  NO_TESTED_BACKUP: 6,
  SLOT_OCCUPIED: 6,
  RUN_OPEN: 6,
  VERSION_IN_USE: 6,
  DURABILITY_OFF: 6,
  NOT_RETIRED: 6,
  LEDGER_OPEN: 6,
  CLOCK_BEHIND: 6,
  PUBLICATION_DIFFERS: 6,
  // 7: approval or share missing, a plan differs
  PLAN_DIFFERS: 7,
  PLAN_EXPIRED: 7,
  PLAN_APPLIED: 7,
  APPROVAL_MISSING: 7,
  SHARE_MISSING: 7,
  // 8: locked
  LOCKED: 8,
  // 9: something needed is missing or did not answer
  TOOL_MISSING: 9,
  TOOL_FAILED: 9,
  DISK_FULL: 9,
  IO_ERROR: 9,
  ACL_UNSUPPORTED: 9,
  STORE_UNAVAILABLE: 9,
  AUDIT_UNWRITABLE: 9,
  RESOURCE_LIMIT: 9,
  DURABILITY_UNKNOWN: 9,
  // 10: interrupted
  INTERRUPTED: 10,
  // 130: a person pressed Ctrl-C at a prompt; nothing was changed
  CANCELLED: 130,
  // 1: a bug in kvx; never thrown on purpose for bad input
  BUG: 1,
} as const satisfies Record<string, number>

export type ErrorCode = keyof typeof errorCatalogue

export type ErrorOptions = {
  /** One imperative sentence with the exact command in backticks that mends it. Never a secret. */
  readonly hint?: string
  /** Facts for `--json`, listed one by one: strings, numbers and booleans that are safe to print. */
  readonly details?: Readonly<Record<string, string | number | boolean | readonly string[]>>
}

/**
 * The only error that reaches an operator. `message` says what and which in one clause: lower case, no full
 * stop, no value that was read. It has no `cause`: errors of libraries and children can carry secrets.
 */
export class KvxError extends Error {
  override readonly name = 'KvxError'
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly details: Readonly<Record<string, string | number | boolean | readonly string[]>>

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message)
    this.code = code
    this.hint = options.hint
    this.details = options.details ?? {}
  }

  get exit(): number {
    return errorCatalogue[this.code]
  }
}

/** True for an error of the catalogue, and of the given code where one is given. */
export function isKvxError(error: unknown, code?: ErrorCode): error is KvxError {
  return error instanceof KvxError && (code === undefined || error.code === code)
}
