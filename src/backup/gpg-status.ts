import type { KvxError } from '../core/errors.ts'
import { openRefusal } from './errors.ts'
import { type Framing, packetTags } from './packets.ts'

/** What gpg said about one decryption. */
export type GpgOutcome = {
  readonly exitCode: number
  /** Lines of `--status-fd` without `[GNUPG:] ` (GnuPG, doc/DETAILS). */
  readonly status: readonly string[]
  /** Explains a refusal; never turns one into an acceptance. */
  readonly framing: Framing
  readonly interactive: boolean
  /** Full fingerprints (primary or subkey) of which one must have opened the message. All where left out. */
  readonly accept?: readonly string[]
}

export type OpenedBy = {
  /** Fingerprint of the subkey that opened the message, 40 upper-case hex digits. */
  readonly keyFingerprint: string
  readonly primaryFingerprint: string
}

/** Splits what came out of `--status-fd`. */
export function parseStatus(bytes: Buffer): string[] {
  return bytes
    .toString('latin1')
    .split('\n')
    .filter((line) => line.startsWith('[GNUPG:] '))
    .map((line) => line.slice('[GNUPG:] '.length))
}

/**
 * Decides whether a decryption counts. Neither the exit code nor output is enough: gpg ends with 0 for data
 * that was never encrypted, and prints the plaintext of a message whose MDC is wrong. All of these must hold:
 * exit code 0, `DECRYPTION_OKAY`, integrity (`GOODMDC`, or AEAD in `DECRYPTION_INFO`), one message with one
 * `PLAINTEXT`, and a `DECRYPTION_KEY` that the message was addressed to and that is on the list.
 * @returns the key that opened it, or the refusal
 */
export function judgeDecryption(outcome: GpgOutcome): OpenedBy | KvxError {
  const { status } = outcome
  const opened = openedBy(status)
  const accepted =
    outcome.exitCode === 0 &&
    has(status, 'DECRYPTION_OKAY') &&
    !has(status, 'DECRYPTION_FAILED') &&
    hasIntegrity(status) &&
    count(status, 'PLAINTEXT') === 1 &&
    count(status, 'BEGIN_DECRYPTION') === 1 &&
    opened !== undefined
  if (!accepted) return explain(outcome, opened)
  return isOnList(opened, outcome.accept) ? opened : strangersKey(opened)
}

/** The `DECRYPTION_KEY` whose key id the message names as a recipient. */
function openedBy(status: readonly string[]): OpenedBy | undefined {
  const recipients = words(status, 'ENC_TO').map((line) => line[0] ?? '?')
  for (const [keyFingerprint = '', primaryFingerprint = ''] of words(status, 'DECRYPTION_KEY')) {
    if (!/^[0-9A-F]{40,64}$/.test(keyFingerprint)) continue
    if (recipients.some((keyId) => /^[0-9A-F]{16}$/.test(keyId) && keyFingerprint.endsWith(keyId))) {
      return { keyFingerprint, primaryFingerprint }
    }
  }
  return undefined
}

/** `DECRYPTION_INFO mdc_method sym_algo [aead_algo]`: a last number other than 0 is an AEAD mode. */
function hasIntegrity(status: readonly string[]): boolean {
  if (has(status, 'BADMDC')) return false
  return (
    has(status, 'GOODMDC') ||
    words(status, 'DECRYPTION_INFO').some((line) => /^[1-9]\d*$/.test(line[2] ?? ''))
  )
}

function isOnList(opened: OpenedBy, accept: readonly string[] | undefined): boolean {
  if (accept === undefined) return true
  const list = accept.map((fingerprint) => fingerprint.toUpperCase())
  return list.includes(opened.keyFingerprint) || list.includes(opened.primaryFingerprint)
}

function explain(outcome: GpgOutcome, opened: OpenedBy | undefined): KvxError {
  const { status, framing } = outcome
  if (isSeveral(outcome)) {
    return openRefusal(
      'BACKUP_UNUSABLE',
      'several-messages',
      'the file holds more than one message or data behind it',
    )
  }
  if (!has(status, 'ENC_TO')) return explainUnaddressed(outcome)
  if (framing.problem === 'truncated') {
    return openRefusal('BACKUP_UNUSABLE', 'truncated', 'the file is cut off: its end is missing', anotherCopy)
  }
  if (opened === undefined && !has(status, 'DECRYPTION_KEY')) return explainClosed(outcome)
  if (framing.packets.some((packet) => packet.tag === packetTags.sed)) {
    const message = 'the message has no integrity protection: anybody could have changed it'
    return openRefusal('BACKUP_UNUSABLE', 'no-integrity', message, anotherCopy)
  }
  return openRefusal(
    'BACKUP_UNUSABLE',
    'damaged',
    'the message is damaged: its integrity check does not hold',
    anotherCopy,
  )
}

const anotherCopy = 'take another copy of this file, or another backup: `kvx backup list`'

function isSeveral({ status, framing }: GpgOutcome): boolean {
  return (
    framing.problem === 'several-messages' ||
    count(status, 'BEGIN_DECRYPTION') > 1 ||
    count(status, 'PLAINTEXT') > 1
  )
}

/** The file names no recipient. */
function explainUnaddressed({ status, framing }: GpgOutcome): KvxError {
  if (has(status, 'NEED_PASSPHRASE_SYM')) {
    const message = 'the file is encrypted with a passphrase, not to a key: kvx writes no such backups'
    return openRefusal('BACKUP_UNUSABLE', 'passphrase-only', message)
  }
  if (has(status, 'PLAINTEXT')) {
    return openRefusal(
      'BACKUP_UNUSABLE',
      'not-encrypted',
      'the file is an OpenPGP message, but it was never encrypted',
    )
  }
  if (framing.problem === 'truncated') {
    return openRefusal('BACKUP_UNUSABLE', 'truncated', 'the file is cut off: its end is missing', anotherCopy)
  }
  return openRefusal('BACKUP_UNUSABLE', 'not-openpgp', 'the file is no OpenPGP message', anotherCopy)
}

/** Codes of libgpg-error (err-codes.h.in) in the low 16 bits of `ERROR pkdecrypt_failed`. */
const lockedCodes: ReadonlySet<number> = new Set([11, 62, 85, 86, 87, 94, 99, 112, 113, 198])
const agentCodes: ReadonlySet<number> = new Set([77, 78])
const sourcePinentry = 5

/** No key opened the session key. */
function explainClosed({ status, interactive }: GpgOutcome): KvxError {
  const errors = words(status, 'ERROR')
    .filter((line) => line[0] === 'pkdecrypt_failed')
    .map((line) => Number.parseInt(line[1] ?? '0', 10))
  const codes = errors.map((error) => error & 0xffff)
  if (
    codes.some((code) => lockedCodes.has(code)) ||
    errors.some((error) => error >>> 24 === sourcePinentry)
  ) {
    return lockedKey(codes.includes(11), interactive)
  }
  if (codes.some((code) => agentCodes.has(code))) {
    return openRefusal('TOOL_FAILED', 'no-agent', 'gpg-agent does not answer', 'see `gpg-connect-agent /bye`')
  }
  const missing = words(status, 'NO_SECKEY').map((line) => line[0] ?? '')
  const named = words(status, 'ENC_TO').map((line) => line[0] ?? '')
  if (errors.length === 0 && missing.length > 0) {
    return openRefusal(
      'WRONG_KEY',
      'no-secret-key',
      `no private key for this file is at hand; it is encrypted to ${[...new Set(named)].join(', ')}`,
      'run the command where one of these keys is, or look with `gpg --list-secret-keys`',
    )
  }
  return openRefusal(
    'BACKUP_UNUSABLE',
    'damaged',
    'the message is damaged: its session key does not open',
    anotherCopy,
  )
}

function lockedKey(wasWrong: boolean, interactive: boolean): KvxError {
  if (!interactive) {
    const message = 'the private key at hand is locked, and nothing may ask for its passphrase or card here'
    return openRefusal('NO_TERMINAL', 'locked', message, 'run it on a terminal after `export GPG_TTY=$(tty)`')
  }
  const why = wasWrong ? 'the passphrase is wrong' : 'the passphrase or card was not given'
  return openRefusal('WRONG_KEY', 'locked', `the private key stays locked: ${why}`, 'run the command again')
}

function strangersKey(opened: OpenedBy): KvxError {
  const message = `the message opened with ${opened.keyFingerprint}, which is no recipient of this backup`
  return openRefusal('BACKUP_UNUSABLE', 'other-key', message)
}

function words(status: readonly string[], keyword: string): string[][] {
  return status
    .map((line) => line.split(' '))
    .filter((line) => line[0] === keyword)
    .map((line) => line.slice(1))
}

function count(status: readonly string[], keyword: string): number {
  return words(status, keyword).length
}

function has(status: readonly string[], keyword: string): boolean {
  return count(status, keyword) > 0
}
