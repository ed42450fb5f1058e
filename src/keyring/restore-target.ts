import { basename, dirname, join, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { checkValueOf } from '../core/fingerprint.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { exists } from '../platform/files.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { versionsOf } from './keyring.ts'
import type { Keyring } from './keyring-file.ts'

/** A path for a bare key file, looked at before any share is asked for. @throws KvxError TARGET_EXISTS, UNSAFE_DIRECTORY */
export async function freeTarget(out: string): Promise<string> {
  const path = join(await checkDirectoryTrust(dirname(resolve(out))), basename(resolve(out)))
  if (!(await exists(path))) return path
  throw new KvxError('TARGET_EXISTS', `${shownPath(path)} exists already and is not overwritten`, {
    hint: `choose another name, or look at it with \`ls -l ${quotedPath(path)}\``,
  })
}

/** The keyring knows every key by its full fingerprint: it says which one this is. @throws KvxError VERSION_UNKNOWN */
export function recordedAs(
  ring: Keyring,
  fingerprint: string,
): { readonly name: string; readonly version: number } {
  for (const [name, key] of Object.entries(ring.keys)) {
    const found = versionsOf(key).find(([, record]) => record.fingerprint === fingerprint)
    if (found !== undefined) return { name, version: found[0] }
  }
  const checkValue = checkValueOf(fingerprint)
  throw new KvxError('VERSION_UNKNOWN', `the keyring knows no key with the check value ${checkValue}`, {
    hint: 'Write it to a file with `--out FILE`, then take it over: `kvx key import NAME --from file:FILE --encoding raw`.',
  })
}

/** A fingerprint as people type it, in its one form. @throws KvxError USAGE */
export function normalFingerprint(typed: string | undefined): string | undefined {
  if (typed === undefined) return undefined
  const digits = typed.replaceAll(/[\s:]/g, '').toLowerCase()
  if (/^[0-9a-f]{64}$/.test(digits)) return digits
  throw new KvxError('USAGE', 'the expected fingerprint is not 64 hex digits', {
    hint: 'the 10 digits of a check value are not enough; the manifest and `kvx key show` have the whole',
  })
}
