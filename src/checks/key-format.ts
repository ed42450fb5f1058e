import { isKvxError, type KvxError } from '../core/errors.ts'
import { fingerprintOf } from '../core/fingerprint.ts'
import { decodeKey, detectEncoding, type KeyEncoding, type KeyWarning } from '../core/key-encoding.ts'
import { weaknessOf } from '../core/key-strength.ts'
import type { Secret } from '../core/secret.ts'
import type { Finding, RuleId } from './rules.ts'

export type FormatOptions = {
  /** Found out from the bytes where it is not told. */
  readonly encoding: KeyEncoding | undefined
  /** In bytes. */
  readonly length: number
  readonly expectFingerprint: string | undefined
}

/** What may be said of a key that was decoded. */
export type KeyFacts = {
  readonly encoding: KeyEncoding
  readonly bytes: number
  readonly fingerprint: string
}

export type FormatResult = { readonly findings: readonly Finding[]; readonly key: KeyFacts | undefined }

/** `shown` goes into messages, `again` into the command that makes a key anew. */
export type Subject = { readonly shown: string; readonly again: string }

/** The rules about the bytes of one key. The caller wipes the bytes. */
export function checkKeyFormat(subject: Subject, bytes: Uint8Array, options: FormatOptions): FormatResult {
  const expected = { expectLength: options.length }
  try {
    const encoding = options.encoding ?? detectEncoding(bytes, expected)
    const { material, warnings } = decodeKey(bytes, encoding, expected)
    try {
      const fingerprint = fingerprintOf(material)
      const findings = [
        ...warnings.map((warning) => warningFinding(subject, warning)),
        ...weaknessFindings(subject, material, encoding),
        ...fingerprintFindings(subject, fingerprint, options.expectFingerprint),
      ]
      return { findings, key: { encoding, bytes: material.length, fingerprint } }
    } finally {
      material.wipe()
    }
  } catch (error) {
    if (isKvxError(error, 'INPUT_EMPTY') || isKvxError(error, 'KEY_MALFORMED')) {
      return { findings: [faultFinding(subject, error)], key: undefined }
    }
    throw error
  }
}

const faultRules: Readonly<Record<string, RuleId>> = {
  length: 'KEY_LENGTH',
  'encoded-twice': 'KEY_DOUBLE_ENCODED',
  passphrase: 'PASSPHRASE_LIKE',
}

function faultFinding(subject: Subject, error: KvxError): Finding {
  const rule = error.code === 'INPUT_EMPTY' ? 'KEY_EMPTY' : faultRules[String(error.details['fault'])]
  return {
    rule: rule ?? 'KEY_ENCODING',
    severity: 'error',
    path: subject.shown,
    message: error.message,
    remedy: error.hint ?? `make a new key where nothing is sealed yet: ${subject.again}`,
  }
}

const warningRemedies: Readonly<Record<KeyWarning['code'], string>> = {
  KEY_CRLF: 'end the line with LF alone, after you have seen that the application reads the key so',
  KEY_BASE64URL_PADDED: 'leave the = out, after you have seen that the application reads the key so',
  KEY_LOOKS_ENCODED:
    'declare the encoding that the application decodes: `--encoding hex` or `--encoding base64`',
}

function warningFinding(subject: Subject, warning: KeyWarning): Finding {
  return {
    rule: warning.code,
    severity: 'warning',
    path: subject.shown,
    message: warning.message,
    remedy: warningRemedies[warning.code],
  }
}

/** Characters are what an `ascii` key is made of: that rule alone does not count there. */
function weaknessFindings(subject: Subject, material: Secret, encoding: KeyEncoding): Finding[] {
  const weakness = weaknessOf(material)
  if (weakness === undefined) return []
  const isText = weakness.rule === 'printable'
  if (isText && encoding === 'ascii') return []
  return [
    {
      rule: isText ? 'PASSPHRASE_LIKE' : 'KEY_WEAK',
      severity: 'error',
      path: subject.shown,
      message: weakness.message,
      remedy: `make a random key: ${subject.again}; values under this one are open to everybody`,
    },
  ]
}

function fingerprintFindings(subject: Subject, found: string, expected: string | undefined): Finding[] {
  if (expected === undefined || found === expected) return []
  return [
    {
      rule: 'FINGERPRINT_DIFFERS',
      severity: 'error',
      path: subject.shown,
      message: `this is another key: its fingerprint is ${found}`,
      remedy: 'bring the right key back from its backup: `kvx restore --from gpg FILE`',
    },
  ]
}
