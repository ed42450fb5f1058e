import { KvxError } from '../core/errors.ts'
import { checkValueOf, fingerprintOf } from '../core/fingerprint.ts'
import { opensCanary } from '../core/canary.ts'
import { Secret } from '../core/secret.ts'
import { createFile } from '../platform/create-file.ts'
import { exists, fsyncDirectory, readFileCapped } from '../platform/files.ts'
import { removeLeftover } from '../platform/temp-file.ts'
import { materialPath, type Home } from './home.ts'
import type { VersionRecord } from './keyring-file.ts'

const maxMaterialBytes = 1024

/** Writes the material of a version, durable when this returns. @throws TARGET_EXISTS */
export async function writeMaterial(
  home: Home,
  name: string,
  version: number,
  material: Secret,
): Promise<void> {
  await writeBareMaterial(materialPath(home, name, version), material)
}

/** Raw bytes, mode 0600, never over a file that is there. @throws TARGET_EXISTS */
export async function writeBareMaterial(path: string, material: Secret): Promise<void> {
  const bytes = material.lend((lent) => {
    const copy = Buffer.allocUnsafeSlow(lent.length)
    lent.copy(copy)
    return copy
  })
  try {
    await createFile(path, bytes, { mode: 0o600 })
  } finally {
    bytes.fill(0)
  }
}

/** The bytes of the home's key file, unchecked. */
export async function readMaterial(home: Home, name: string, version: number): Promise<Secret> {
  const { bytes } = await readFileCapped(materialPath(home, name, version), { maxBytes: maxMaterialBytes })
  return Secret.take(bytes)
}

/**
 * Takes away what a killed run left of a version's material besides its file: an unfinished one, or a second name of
 * it. Durable when it returns, and so is the file's own name.
 */
export async function removeUnfinishedMaterial(home: Home, name: string, version: number): Promise<void> {
  await removeLeftover(materialPath(home, name, version))
  await fsyncDirectory(home.keys)
}

export async function hasMaterial(home: Home, name: string, version: number): Promise<boolean> {
  return exists(materialPath(home, name, version))
}

/**
 * The material of a recorded version, proven by its fingerprint and its canary.
 * @throws KEYRING_DAMAGED when the file is missing, FINGERPRINT_DIFFERS when it holds another key,
 *   CANARY_FAILED when the record was changed
 */
export async function loadMaterial(
  home: Home,
  name: string,
  version: number,
  record: VersionRecord,
): Promise<Secret> {
  const subject = `${name}@${version}`
  if (!(await hasMaterial(home, name, version))) {
    throw new KvxError('KEYRING_DAMAGED', `the key file of ${subject} is missing from ${home.keys}`, {
      hint: `Bring it back: \`kvx backup list ${name}\` shows what there is; then \`kvx restore --from gpg FILE\` or \`kvx restore --from shares\`.`,
    })
  }
  const material = await readMaterial(home, name, version)
  const fingerprint = fingerprintOf(material)
  if (record.fingerprint !== null && fingerprint !== record.fingerprint) {
    material.wipe()
    throw new KvxError(
      'FINGERPRINT_DIFFERS',
      `the key file of ${subject} holds another key: check value ${checkValueOf(fingerprint)}, recorded ${checkValueOf(record.fingerprint)}`,
      { hint: `Bring the right one back from a backup: \`kvx backup list ${name}\`.` },
    )
  }
  if (record.canary !== null && !opensCanary(material, subject, record.canary)) {
    material.wipe()
    throw new KvxError('CANARY_FAILED', `the canary of ${subject} does not open with its key`, {
      hint: 'The keyring was changed by something else than kvx. Put back the newest good keyring.json.',
    })
  }
  return material
}
