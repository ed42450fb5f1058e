/** Severity of a finding: an error ends the check in 3, a warning only where that is asked for. */
export type Severity = 'error' | 'warning'

export const ruleGroups = ['format', 'files', 'config', 'manifest', 'ciphertext', 'secrets'] as const
export type RuleGroup = (typeof ruleGroups)[number]

/** Every rule of `kvx check`. An id never changes its meaning. */
export const rules = {
  KEY_EMPTY: { group: 'format', finds: 'a key of no bytes' },
  KEY_LENGTH: { group: 'format', finds: 'a key of another length than expected' },
  KEY_ENCODING: { group: 'format', finds: 'a text that strict decoding refuses, or no key at all' },
  KEY_DOUBLE_ENCODED: { group: 'format', finds: 'base64 around base64, as from a Kubernetes Secret' },
  KEY_WEAK: { group: 'format', finds: 'bytes that no random source makes' },
  KEY_CRLF: { group: 'format', finds: 'a line that ends as on Windows' },
  KEY_BASE64URL_PADDED: { group: 'format', finds: 'base64url with padding' },
  KEY_LOOKS_ENCODED: { group: 'format', finds: 'an ascii key that looks like hex or base64' },
  KEY_REUSED: { group: 'format', finds: 'the same key in two places' },
  PASSPHRASE_LIKE: { group: 'format', finds: 'printable characters used as a key' },
  FINGERPRINT_DIFFERS: { group: 'format', finds: 'another key than --expect-fingerprint says' },
  FILE_TYPE: { group: 'files', finds: 'a directory, FIFO, socket, device or file too large for a key' },
  FILE_NAME: { group: 'files', finds: 'a name in a directory that is not UTF-8' },
  FILE_MODE: { group: 'files', finds: 'rights for others, writing for the group, execute and set-id bits' },
  FILE_OWNER: { group: 'files', finds: 'a file that belongs to somebody else' },
  FILE_ACL: { group: 'files', finds: 'ACL entries that are not allowed, and readers that a mask cuts off' },
  FILE_UNREADABLE: { group: 'files', finds: 'a file that kvx may not read' },
  PARENT_WRITABLE: { group: 'files', finds: 'a directory in which others can replace the key' },
  SYMLINK: { group: 'files', finds: 'a symbolic link in the place of a key' },
  HARD_LINK: { group: 'files', finds: 'a second name of the same file' },
  LEFTOVER: { group: 'files', finds: 'an unfinished key file of a run that died' },
  CONFIG_INVALID: { group: 'config', finds: 'a kvx.yaml that kvx refuses' },
  POLICY_UNKEPT: { group: 'config', finds: 'a policy that its own kvx.yaml cannot keep' },
  POLICY_DUE: {
    group: 'config',
    finds: 'what the policy asks for and the home, where there is one, does not keep',
  },
  CONFIG_WRITABLE: { group: 'config', finds: 'a kvx.yaml that others can write' },
  MANIFEST_INVALID: { group: 'manifest', finds: 'a backup manifest that was changed or damaged' },
  MANIFEST_BACKUP_DIFFERS: { group: 'manifest', finds: 'a backup that is missing or not the one recorded' },
  SECRET_IN_MANIFEST: { group: 'manifest', finds: 'a key in a manifest of Kubernetes or Compose' },
  MESSAGE_DAMAGED: { group: 'ciphertext', finds: 'an OpenPGP message that is cut off or not one message' },
  SECRET_IN_ENV: { group: 'secrets', finds: 'a key in the clear in an env file' },
  SECRET_IN_FILE: { group: 'secrets', finds: 'a key in the clear in any other text' },
  PRIVATE_KEY: { group: 'secrets', finds: 'a private key, an age key or a share of a key' },
  KEY_COMMITTED: { group: 'secrets', finds: 'a key file that git tracks' },
} as const satisfies Record<string, { readonly group: RuleGroup; readonly finds: string }>

export type RuleId = keyof typeof rules

export const ruleIds = Object.keys(rules) as readonly RuleId[]

export type Finding = {
  readonly rule: RuleId
  readonly severity: Severity
  /** A path, `env:NAME` or `stdin`; control characters are escaped. */
  readonly path: string
  /** The line in a text, from 1. */
  readonly line?: number
  readonly message: string
  /** What to do, with the exact command where there is one. */
  readonly remedy: string
}

/** Which rules are applied. */
export type RuleChoice = { readonly only: readonly RuleGroup[]; readonly skip: readonly RuleId[] }

export function wantsGroup(choice: RuleChoice, group: RuleGroup): boolean {
  return choice.only.length === 0 || choice.only.includes(group)
}

export function wantsRule(choice: RuleChoice, rule: RuleId): boolean {
  return wantsGroup(choice, rules[rule].group) && !choice.skip.includes(rule)
}
