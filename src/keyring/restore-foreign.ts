import { combineForeign, type ForeignKind } from '../backup/shares/foreign.ts'
import type { BackupWarning } from '../backup/errors.ts'
import { KvxError } from '../core/errors.ts'
import { checkValueOf, fingerprintOf } from '../core/fingerprint.ts'
import type { Secret } from '../core/secret.ts'
import { readKeyring } from './keyring.ts'
import { type ConfirmKey, isKeyringProven, putKeyBack, writeBareKey } from './put-key-back.ts'
import { freeTarget, normalFingerprint, recordedAs } from './restore-target.ts'
import { openWorkspace } from './workspace.ts'

export type ForeignRequest = {
  readonly kind: ForeignKind
  /** How many shares rebuild the key; as many as are given when undefined. */
  readonly threshold: number | undefined
  /** A bare file instead of the home. */
  readonly out: string | undefined
  readonly expectFingerprint: string | undefined
  readonly config: string | undefined
  readonly home: string | undefined
  readonly auditTo: string | undefined
  readonly dryRun: boolean
  /** The texts of the shares, which are wiped here. */
  readonly collect: () => Promise<readonly Uint8Array[]>
  readonly confirm: ConfirmKey
}

export type RestoredForeign = {
  readonly source: ForeignKind
  readonly name: string | null
  readonly version: number | null
  readonly fingerprint: string
  readonly checkValue: string
  readonly path: string
  readonly used: readonly number[]
  readonly proven: boolean
  readonly changed: boolean
  readonly warnings: readonly BackupWarning[]
}

/**
 * Takes a key out of shares that another program made. They prove nothing: without a fingerprint from elsewhere, or
 * a keyring that knows the key, it is labelled so.
 * @throws KvxError as `combineForeign`, FINGERPRINT_DIFFERS, VERSION_UNKNOWN, KEY_EXISTS, TARGET_EXISTS
 */
export async function restoreForeign(request: ForeignRequest): Promise<RestoredForeign> {
  const given = normalFingerprint(request.expectFingerprint)
  const target = request.out === undefined ? undefined : await freeTarget(request.out)
  const workspace = target === undefined ? await openWorkspace(request) : undefined
  const { material, used } = await combined(request)
  try {
    const fingerprint = fingerprintOf(material)
    requireExpected(fingerprint, given)
    const facts = { source: request.kind, fingerprint, checkValue: checkValueOf(fingerprint), used }
    if (workspace === undefined) {
      const placed = await intoFile(request, target ?? '', { fingerprint, material })
      return { ...facts, ...placed, ...proof(given !== undefined) }
    }
    const { name, version } = recordedAs(await readKeyring(workspace.home), fingerprint)
    const key = { name, version, fingerprint, material }
    const put = await putKeyBack(workspace, key, { ...request, source: { source: request.kind } })
    return {
      ...facts,
      name,
      version,
      ...put,
      ...proof(given !== undefined || (await isKeyringProven(workspace))),
    }
  } finally {
    material.wipe()
  }
}

async function combined(request: ForeignRequest): ReturnType<typeof combineForeign> {
  const lines = await request.collect()
  try {
    return await combineForeign(request.kind, lines, request.threshold)
  } finally {
    for (const line of lines) line.fill(0)
  }
}

function requireExpected(fingerprint: string, given: string | undefined): void {
  if (given === undefined || given === fingerprint) return
  throw new KvxError(
    'FINGERPRINT_DIFFERS',
    `these shares rebuild another key: check value ${checkValueOf(fingerprint)}, while ${checkValueOf(given)} was expected`,
    { hint: 'one of the shares is wrong or of another split, or too few were given; nothing was written' },
  )
}

async function intoFile(
  request: ForeignRequest,
  path: string,
  key: { readonly fingerprint: string; readonly material: Secret },
): Promise<Pick<RestoredForeign, 'name' | 'version' | 'path' | 'changed'>> {
  if (!request.dryRun) await writeBareKey(path, key, request)
  return { name: null, version: null, path, changed: !request.dryRun }
}

function proof(proven: boolean): Pick<RestoredForeign, 'proven' | 'warnings'> {
  const message =
    'these shares have no checksum and no set: split the key again with `kvx backup split`, then destroy them'
  return { proven, warnings: [{ code: 'FOREIGN_SHARES', message }] }
}
