import { resolve } from 'node:path'
import type { BackupWarning } from '../backup/errors.ts'
import { readTravellingManifest } from '../backup/shares/examine.ts'
import { RestoreSession } from '../backup/shares/restore-session.ts'
import { type ShareSet, shownSet } from '../backup/shares/share-set.ts'
import { KvxError } from '../core/errors.ts'
import { checkValueOf } from '../core/fingerprint.ts'
import type { Rebuilt } from '../core/share/recombine.ts'
import { readKeyring, versionsOf } from './keyring.ts'
import type { Keyring } from './keyring-file.ts'
import { type ConfirmKey, isKeyringProven, putKeyBack, writeBareKey } from './put-key-back.ts'
import { freeTarget, normalFingerprint, recordedAs } from './restore-target.ts'
import { ownSets, rebuildFrom, type ShareSource } from './share-source.ts'
import { openWorkspace } from './workspace.ts'

export type SharesRequest = ShareSource & {
  /** The public manifest of the set; without it the home's own is taken where there is one. */
  readonly manifest: string | undefined
  /** A bare file instead of the home. */
  readonly out: string | undefined
  readonly expectFingerprint: string | undefined
  readonly config: string | undefined
  readonly home: string | undefined
  /** A side log for the day on which the home's log can't be written. */
  readonly auditTo: string | undefined
  readonly dryRun: boolean
  readonly confirm: ConfirmKey
}

export type RestoredFromShares = {
  /** Null where nothing names the key: no manifest, no keyring. */
  readonly name: string | null
  readonly version: number | null
  readonly fingerprint: string
  readonly checkValue: string
  readonly path: string
  readonly set: string
  readonly used: readonly number[]
  readonly suspects: readonly number[]
  readonly proven: boolean
  readonly changed: boolean
  readonly warnings: readonly BackupWarning[]
}

/**
 * Rebuilds a key from shares and puts it back. A mismatch refuses; what is merely not proven is labelled: proven is
 * a key whose full fingerprint was given or stands in the keyring, since a manifest without its home proves only
 * that it was not changed.
 * @throws FINGERPRINT_DIFFERS, KEY_EXISTS (another live key is never overwritten), BACKUP_UNUSABLE naming a share,
 * PLAN_DIFFERS (exit 7) for too few shares, TARGET_EXISTS, VERSION_UNKNOWN
 */
export async function restoreFromShares(request: SharesRequest): Promise<RestoredFromShares> {
  const given = normalFingerprint(request.expectFingerprint)
  const named = await namedManifest(request.manifest, given)
  return request.out === undefined
    ? intoHome(request, { given, named })
    : intoFile(request, { given, named, out: request.out })
}

type Named = { readonly set: ShareSet | undefined; readonly warnings: readonly BackupWarning[] }
type Known = { readonly given: string | undefined; readonly named: Named }

async function namedManifest(path: string | undefined, given: string | undefined): Promise<Named> {
  if (path === undefined) return { set: undefined, warnings: [] }
  const { set, warnings } = await readTravellingManifest(resolve(path))
  if (given === undefined || given === set.fingerprint) return { set, warnings }
  throw new KvxError(
    'FINGERPRINT_DIFFERS',
    `the manifest is that of another key: check value ${set.checkValue}, while ${checkValueOf(given)} was expected`,
    { hint: 'take the manifest of the right set; nothing was written' },
  )
}

async function intoFile(
  request: SharesRequest,
  known: Known & { readonly out: string },
): Promise<RestoredFromShares> {
  const path = await freeTarget(known.out)
  const session = new RestoreSession(known.named.set)
  const rebuilt = await rebuildFrom(request, session, () => known.given ?? known.named.set?.fingerprint)
  try {
    if (!request.dryRun) await writeBareKey(path, rebuilt, request)
    const { set } = session
    const key = { name: set?.name ?? null, version: set?.version ?? null }
    const facts = { ...key, path, proven: known.given !== undefined, changed: !request.dryRun }
    return restored(rebuilt, session, { ...facts, warnings: known.named.warnings })
  } finally {
    rebuilt.material.wipe()
    session.wipe()
  }
}

async function intoHome(request: SharesRequest, known: Known): Promise<RestoredFromShares> {
  const workspace = await openWorkspace(request)
  const ring = await readKeyring(workspace.home)
  const own = await ownSets(workspace)
  const session = new RestoreSession(known.named.set, own)
  const expected = (): string | undefined =>
    known.given ?? session.set?.fingerprint ?? onlyFingerprint(ring, session.checkValue)
  const rebuilt = await rebuildFrom(request, session, expected)
  try {
    const { name, version } = recordedAs(ring, rebuilt.fingerprint)
    const { fingerprint, material } = rebuilt
    const source = { source: 'shares', set: session.setId?.toUpperCase() ?? '' }
    const put = await putKeyBack(workspace, { name, version, fingerprint, material }, { ...request, source })
    const isVouchedFor =
      known.given !== undefined || own.some(({ fingerprint: signed }) => signed === fingerprint)
    const proven = isVouchedFor || (await isKeyringProven(workspace))
    return restored(rebuilt, session, { name, version, ...put, proven, warnings: known.named.warnings })
  } finally {
    rebuilt.material.wipe()
    session.wipe()
  }
}

function onlyFingerprint(ring: Keyring, checkValue: string | undefined): string | undefined {
  const all = Object.values(ring.keys).flatMap((key) =>
    versionsOf(key).flatMap(([, { fingerprint }]) => fingerprint ?? []),
  )
  const fitting = all.filter((fingerprint) => checkValueOf(fingerprint) === checkValue)
  return fitting.length === 1 ? fitting[0] : undefined
}

function restored(
  rebuilt: Rebuilt,
  session: RestoreSession,
  facts: Pick<RestoredFromShares, 'name' | 'version' | 'path' | 'proven' | 'changed' | 'warnings'>,
): RestoredFromShares {
  const warnings = [...facts.warnings]
  const { set } = session
  if (rebuilt.suspects.length > 0) {
    const which = rebuilt.suspects.join(', ')
    const message = `share ${which} is not of this key: the others rebuilt it without`
    warnings.push({ code: 'SHARE_SUSPECT', message })
  }
  if (set === undefined) {
    warnings.push({ code: 'MANIFEST_MISSING', message: 'there was no manifest to compare the shares with' })
  } else if (set.state !== 'active') {
    warnings.push({ code: 'SET_NOT_ACTIVE', message: `the share set ${shownSet(set)} is ${set.state}` })
  }
  return {
    ...facts,
    warnings,
    fingerprint: rebuilt.fingerprint,
    checkValue: checkValueOf(rebuilt.fingerprint),
    set: session.setId?.toUpperCase() ?? '',
    used: rebuilt.used,
    suspects: rebuilt.suspects,
  }
}
