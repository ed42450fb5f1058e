import { openVerifier, parsePublicKeysPem } from '../core/signature.ts'
import type { PublicKey } from './audit-key.ts'
import { asPublicKey } from './audit-key.ts'
import type { AuditEntry } from './entry.ts'
import { endorseAction, replaceAction, shortKey, signedBytes } from './entry.ts'

/** What the log says of one key that signed entries. */
export type UsedKey = {
  readonly fingerprint: string
  readonly firstSeq: number
  readonly entries: number
  /** In `audit.pub`, or among the keys that the caller gave. */
  readonly trusted: boolean
  /** The key before it signed an entry that names it. */
  readonly endorsed: boolean
}

export type KeyVerdict = {
  readonly code: 'UNKNOWN_KEY' | 'KEY_CHANGED' | 'BAD_SIGNATURE' | 'KEY_NOT_TRUSTED'
  readonly message: string
}

type Known = {
  readonly fingerprint: string
  readonly verify: ReturnType<typeof openVerifier>
  readonly trusted: boolean
}
type Use = { firstSeq: number; entries: number; endorsed: boolean; readonly known: Known }

/** Follows which key signs: the trusted ones, and those that a replacement entry brings in. */
export class LogKeys {
  readonly #known = new Map<string, Known>()
  readonly #uses = new Map<string, Use>()
  readonly #endorsed = new Set<string>()
  #current: string | undefined

  constructor(trusted: readonly PublicKey[]) {
    for (const key of trusted) this.#learn(key, true)
  }

  /** Checks the signature of the next entry, and that its key may sign here. */
  check(entry: AuditEntry): KeyVerdict | undefined {
    const known = this.#known.get(entry.key) ?? introducedBy(entry)
    if (known === undefined) {
      return { code: 'UNKNOWN_KEY', message: `signed by the key ${entry.key}, which is not known` }
    }
    if (!known.verify(signedBytes(entry), Buffer.from(entry.sig, 'base64'))) {
      return { code: 'BAD_SIGNATURE', message: 'the signature does not fit: the line was changed' }
    }
    const verdict = this.#change(entry, known)
    this.#count(entry, known)
    if (entry.action === endorseAction) this.#endorsed.add(String(entry.data['newPublicKeyFingerprint']))
    return verdict
  }

  used(): readonly UsedKey[] {
    return [...this.#uses.values()].map(({ known, firstSeq, entries, endorsed }) => {
      return { fingerprint: known.fingerprint, firstSeq, entries, trusted: known.trusted, endorsed }
    })
  }

  #change(entry: AuditEntry, known: Known): KeyVerdict | undefined {
    const before = this.#current ?? entry.key
    this.#current = before // a key that comes in without a word does not become the one that signs
    if (before === entry.key) return this.#trust(entry, known)
    const isReplacement =
      entry.action === replaceAction &&
      entry.data['newPublicKeyFingerprint'] === known.fingerprint &&
      shortKey(String(entry.data['oldPublicKeyFingerprint'])) === before
    if (isReplacement) {
      this.#current = entry.key
      return this.#trust(entry, known)
    }
    return {
      code: 'KEY_CHANGED',
      message: `signed by the key ${entry.key} instead of ${before}, and no entry says that it was replaced`,
    }
  }

  #trust(entry: AuditEntry, known: Known): KeyVerdict | undefined {
    if (known.trusted || this.#endorsed.has(known.fingerprint) || this.#uses.has(entry.key)) return undefined
    return {
      code: 'KEY_NOT_TRUSTED',
      message: `the key ${entry.key} brings itself in: neither the key before it nor audit.pub names it`,
    }
  }

  #count(entry: AuditEntry, known: Known): void {
    this.#known.set(entry.key, known)
    const use = this.#uses.get(entry.key)
    if (use !== undefined) use.entries += 1
    else {
      const endorsed = this.#endorsed.has(known.fingerprint)
      this.#uses.set(entry.key, { firstSeq: entry.seq, entries: 1, endorsed, known })
    }
  }

  #learn({ raw, fingerprint }: PublicKey, trusted: boolean): void {
    this.#known.set(shortKey(fingerprint), { fingerprint, verify: openVerifier(raw), trusted })
  }
}

function introducedBy(entry: AuditEntry): Known | undefined {
  const spki = entry.data['newPublicKey']
  if (entry.action !== replaceAction || typeof spki !== 'string') return undefined
  try {
    const [raw] = parsePublicKeysPem(`-----BEGIN PUBLIC KEY-----\n${spki}\n-----END PUBLIC KEY-----\n`)
    if (raw === undefined) return undefined
    const { fingerprint } = asPublicKey(raw)
    if (shortKey(fingerprint) !== entry.key) return undefined
    return { fingerprint, verify: openVerifier(raw), trusted: false }
  } catch {
    return undefined
  }
}
