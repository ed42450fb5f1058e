import { looksLikeKey } from '../audit/entry-guard.ts'

export type Found = {
  /** `events.4.text` */
  readonly path: string
  readonly what: string
}

/** True for members that hold public digests by their name, where 64 hex digits are no key. */
export function isIdentity(name: string): boolean {
  return /^(sha256|digest|fingerprint|prev|head|nonce|auditKey|openpgp|osImage|image)$/.test(name)
}

/**
 * The first string that decodes as a share or has the form of a 32-byte key, if there is one. Members that are
 * named after public digests may hold 64 hex digits, and nothing else.
 */
export function scanForSecrets(
  value: unknown,
  isPublic: (name: string) => boolean,
  path: readonly string[] = [],
): Found | undefined {
  if (typeof value === 'string') {
    const what = secretIn(value, isPublic(path.at(-1) ?? ''))
    return what === undefined ? undefined : { path: path.join('.'), what }
  }
  if (typeof value !== 'object' || value === null) return undefined
  for (const [name, member] of Object.entries(value)) {
    const found =
      scanForSecrets(name, () => false, [...path, 'a name']) ??
      scanForSecrets(member, isPublic, [...path, name])
    if (found !== undefined) return found
  }
  return undefined
}

/** What a text that a person typed must not hold. */
export function secretIn(text: string, isPublic = false): string | undefined {
  if (isPublic && /^[0-9a-fA-F]{16,64}$/.test(text)) return undefined
  if (looksLikeKey(text)) return 'a 32-byte key'
  const packed = text.replaceAll(/[\s.:-]/g, '')
  if (/kvx(test)?1[02-9ac-hj-np-z]{20}/i.test(packed)) return 'a share'
  if (/(^|[^0-9A-Za-z])\d{1,2}-[0-9a-f]{32,}/i.test(text)) return 'a share of ssss'
  return /PRIVATE KEY/.test(text) ? 'a private key' : undefined
}
