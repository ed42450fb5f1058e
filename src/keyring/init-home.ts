import { join } from 'node:path'
import { createAuditKey, loadAuditKey } from '../audit/audit-key.ts'
import { openAudit } from '../audit/audit.ts'
import { KvxError } from '../core/errors.ts'
import { exists, makeDirectory } from '../platform/files.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { writeState } from '../platform/state-file.ts'
import { removeLeftover } from '../platform/temp-file.ts'
import { homeAt, type Home } from './home.ts'
import { emptyKeyring, encodeKeyring } from './keyring-file.ts'

export type HomeContents = {
  /** Fingerprints of audit keys that signed for this home before, named in the first entry of the new log. */
  readonly priorAuditKeys?: readonly string[]
  /** Fills the folders before the keyring makes the home complete. */
  readonly fill?: (home: Home) => Promise<void>
  readonly keyring?: Uint8Array
}

/** @throws HOME_EXISTS */
export async function refuseExistingHome(path: string): Promise<void> {
  if (!(await exists(homeAt(path).keyring))) return
  throw new KvxError('HOME_EXISTS', `there is a home at ${path} already`, {
    hint: 'It is left as it is. `kvx key list` shows what it holds.',
  })
}

/**
 * Makes a home (0700): folders, audit key and log, a `.gitignore` of `*`, and last the keyring, whose presence
 * says that the home is complete. A home that an earlier attempt left half made is finished.
 * @throws HOME_EXISTS, UNSAFE_DIRECTORY
 */
export async function createHome(
  path: string,
  contents: HomeContents = {},
): Promise<{ readonly home: Home; readonly auditFingerprint: string }> {
  const home = homeAt(path)
  await refuseExistingHome(path)
  await makeParents(path)
  await makeDirectory(path, 0o700)
  await checkDirectoryTrust(path)
  for (const folder of [home.keys, home.runs, home.backups, home.audit]) await makeDirectory(folder, 0o700)
  await writeState(join(path, '.gitignore'), Buffer.from('*\n'))
  const { signer } = await createAuditKeyOnce(home)
  const prior = contents.priorAuditKeys ?? []
  await openAudit(home.audit, { signer }).append({
    action: prior.length === 0 ? 'home.init' : 'home.restore',
    phase: 'note',
    data: {
      publicKeyFingerprint: signer.publicKeyFingerprint,
      ...(prior.length === 0 ? {} : { priorPublicKeyFingerprints: prior }),
    },
  })
  await contents.fill?.(home)
  await writeState(home.keyring, contents.keyring ?? encodeKeyring(emptyKeyring()))
  return { home, auditFingerprint: signer.publicKeyFingerprint }
}

async function createAuditKeyOnce(home: Home): ReturnType<typeof createAuditKey> {
  const path = join(home.audit, 'audit.key')
  if (!(await exists(path))) return createAuditKey(home.audit)
  // An attempt that died between link and unlink left a second name of the private key.
  await removeLeftover(path)
  return loadAuditKey(home.audit)
}

/** Parents that are missing are made for root and the owner alone. */
async function makeParents(path: string): Promise<void> {
  const parts = path.split('/').slice(1, -1)
  let at = ''
  for (const part of parts) {
    at = `${at}/${part}`
    if (!(await exists(at))) await makeDirectory(at, 0o755)
  }
}
