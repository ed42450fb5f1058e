import { KvxError } from '../core/errors.ts'
import { canOpen } from '../core/key-state.ts'
import type { Secret } from '../core/secret.ts'
import { notice } from '../platform/notices.ts'
import type { Home } from './home.ts'
import type { Keyring, VersionRecord } from './keyring-file.ts'
import { keyOf, versionsOf } from './keyring.ts'
import { loadMaterial } from './material.ts'

export type OpenerOptions = {
  /** Retired versions too: a value that still needs one is a finding, and finding it takes the key. */
  readonly withRetired: boolean
}

/**
 * The material of every version that may open values, proven by fingerprint and canary. A version that does not
 * seal and whose file is lost or holds another key is left out with a notice: values under it count as unreadable,
 * which stops every write, while a look stays possible. The caller wipes the material.
 * @throws KEYRING_DAMAGED, FINGERPRINT_DIFFERS, CANARY_FAILED for the version that seals
 */
export async function loadOpeners(
  home: Home,
  ring: Keyring,
  name: string,
  options: OpenerOptions,
): Promise<Map<number, Secret>> {
  const key = keyOf(ring, name)
  const materials = new Map<number, Secret>()
  for (const [version, record] of versionsOf(key)) {
    if (!mayOpen(record) || (record.retired !== null && !options.withRetired)) continue
    if (record.destruction?.begun !== undefined) {
      notice(
        'ERASURE_BEGUN',
        `the erasure of ${name}@${version} was interrupted; finish it: \`kvx destroy --due\``,
      )
      continue
    }
    try {
      materials.set(version, await loadMaterial(home, name, version, record))
    } catch (error) {
      if (version === key.seals || !(error instanceof KvxError)) throw error
      notice(
        'KEY_FILE_UNUSABLE',
        `${error.message}; values under ${name}@${version} cannot be opened until it is back: \`kvx backup list ${name}\``,
      )
    }
  }
  return materials
}

function mayOpen(record: VersionRecord): boolean {
  return canOpen(record.state) && record.fingerprint !== null
}
