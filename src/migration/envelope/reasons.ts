/** Why a record does not open, in words that stand in reports. */
export const unreadableReasons = {
  shape: 'it does not fit the declared layout',
  'no-known-key': 'no key of this home opens it (missing key, or damaged)',
  'dek-missing': 'it has a value and no wrapped DEK',
  'dek-length': 'its DEK has another length than the declared AEAD takes',
  'value-under-dek': 'its DEK opens, its value does not open with that DEK',
  'under-key-directly': 'its value opens directly under the key, although a DEK is declared',
  'version-column':
    'its version column says nothing that kvx could write, and the record needs another version',
  'not-sealed': 'one of its values is not sealed as declared, although others beside it are',
  'key-ambiguous':
    'its cipher does not authenticate, and its plaintext passes the test with no key for certain: too short, or several keys pass',
} as const

export type UnreadableReason = keyof typeof unreadableReasons
