import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ApprovedBy, refuseUnapproved } from '../approvals/gate.ts'
import { sha256Of } from '../audit/documents.ts'
import { signDocument } from '../audit/signed-document.ts'
import { withIntent } from '../audit/with-intent.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { changeLogged } from '../keyring/change-state.ts'
import { changeKeyring, keyOf, readKeyring, usePlan, versionOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { publicationDrift, publishKey, type PublishedPlace } from '../keyring/publish/publish.ts'
import { cacheTtlMs } from '../keyring/readers.ts'
import { configuredKey, type Workspace } from '../keyring/workspace.ts'
import { currentActor } from '../platform/actor.ts'
import { isoNow } from '../platform/clock.ts'
import { makeDirectory } from '../platform/files.ts'
import { randomId } from '../platform/random.ts'
import { writeState } from '../platform/state-file.ts'
import type { Census } from './census.ts'
import { refuseUndeclared } from './discover/refuse-undeclared.ts'
import { refuseBegun } from './erasure.ts'
import { stopIfInterrupted, type Events } from './events.ts'
import { refuseOpenRun } from './gates.ts'
import type { Journal, RunRow } from './journal.ts'
import {
  droppedFacts,
  forgetPlaces,
  refuseMissingPlaces,
  refuseShrunkPlaces,
  rememberPlaces,
  type AcceptShrunk,
  type DropPlaces,
  type ShrunkPlace,
} from './places.ts'
import type { KnownPlace } from './places-file.ts'
import { countsOf } from './plan.ts'
import { refuseUnfinished } from './runs.ts'
import { refuseInner } from './sealed-twice.ts'
import { openSession } from './session.ts'

export type Retirement = {
  readonly subject: string
  readonly certificate: string
  readonly scans: readonly (readonly Census[])[]
  readonly places: readonly PublishedPlace[]
}

export type RetireRequest = {
  readonly name: string
  readonly version: number
  /** So many records that open with no known key may stay behind, with the reason that is signed. */
  readonly acceptLoss: { readonly count: number; readonly reason: string } | undefined
  /** Places that had values and are gone for good, by name, with the reason that is signed. */
  readonly drop: DropPlaces | undefined
  /** Places that lost over a half of their values on purpose, by name, with the reason that is signed. */
  readonly acceptShrunk: AcceptShrunk | undefined
  /** The plan that was approved for it, where the policy asks for one. */
  readonly approvedBy?: ApprovedBy | undefined
  readonly events: Events
}

/**
 * What can be refused before any scan. A run that is open only for records that it set aside holds nothing back
 * once their loss is accepted.
 * @throws VERSION_IN_USE, STATE_TRANSITION, RUN_OPEN
 */
export function checkRetirable(
  ring: Keyring,
  journal: Journal,
  request: Pick<RetireRequest, 'name' | 'version' | 'acceptLoss'>,
): void {
  const { name, version } = request
  const key = keyOf(ring, name)
  const record = versionOf(key, name, version)
  const subject = `${name}@${version}`
  if (key.seals === version || key.staged === version) {
    throw new KvxError(
      'VERSION_IN_USE',
      `${subject} ${key.seals === version ? 'seals' : 'is staged'} and cannot be retired`,
      {
        hint: `First another version must seal: \`kvx rotate ${name}\`.`,
      },
    )
  }
  if (record.retired !== null) {
    throw new KvxError('STATE_TRANSITION', `${subject} is retired already, since ${record.retired.at}`, {
      hint: `\`kvx key show ${name}\` names its certificate.`,
    })
  }
  if (record.state !== 'deactivated' && record.state !== 'compromised') {
    throw new KvxError(
      'STATE_TRANSITION',
      `${subject} is ${record.state}; only a deactivated or compromised version is retired`,
      {
        hint:
          record.state === 'suspended'
            ? `Take it back into use first, so that what lies under it can be found: \`kvx key resume ${subject} --reason TEXT\`.`
            : `\`kvx key show ${name}\` tells its life.`,
      },
    )
  }
  refuseOpenRun(journal, name, request.acceptLoss && partlyDone(journal, name)?.id)
}

/** The same; a run that a process works on right now is named with that process. @throws LOCKED besides */
export async function requireRetirable(
  workspace: Workspace,
  journal: Journal,
  ring: Keyring,
  request: Pick<RetireRequest, 'name' | 'version' | 'acceptLoss'>,
): Promise<void> {
  try {
    checkRetirable(ring, journal, request)
  } catch (error) {
    if (isKvxError(error, 'RUN_OPEN')) await refuseUnfinished(workspace, journal, request.name)
    throw error
  }
}

function partlyDone(journal: Journal, name: string): RunRow | undefined {
  return journal
    .unfinished()
    .find(
      ({ id, key, direction }) =>
        key === name && direction === 'forward' && journal.quarantine(id).length > 0,
    )
}

/**
 * The gate: two full scans, a reader's cache-ttl apart, prove that no value needs the version. Then it is marked
 * with a signed certificate and taken out of the published places. The material stays in the home.
 * @throws VALUES_REMAIN (the key is untouched), also for values that nothing declares; UNREADABLE_RECORDS; PLACE_MISSING when a place that had values is
 *   not declared any more, or has none
 */
export async function retireVersion(
  workspace: Workspace,
  journal: Journal,
  request: RetireRequest,
): Promise<Retirement> {
  const { name, version } = request
  const subject = `${name}@${version}`
  const config = configuredKey(workspace.config, name)
  refuseUnapproved(workspace.config, ['retire'], request.approvedBy, `retire ${subject}`)
  checkRetirable(await readKeyring(workspace.home), journal, request)
  const { drop, acceptShrunk } = request
  const data = {
    ...(drop && { dropPlaces: drop.names, reason: drop.reason }),
    ...(acceptShrunk && { shrunkPlaces: acceptShrunk.names, reason: acceptShrunk.reason }),
  }
  return withIntent(workspace.audit, { action: 'key.retire', subject, data }, async (conclusion) => {
    const proof = await twoScans(workspace, request, cacheTtlMs(config))
    const { scans, dropped } = proof
    const { certificate, sha256 } = await writeCertificate(workspace, request, proof)
    await changeKeyring(workspace.home, (ring) => {
      checkRetirable(ring, journal, request)
      usePlan(ring, request.approvedBy)
      const key = keyOf(ring, name)
      versionOf(key, name, version).retired = { at: isoNow(), actor: currentActor(), certificate }
      if (key.previous === version) key.previous = null
    })
    await forgetPlaces(workspace.home, name, dropped)
    const places = await publishKey(workspace.home, { name, config })
    const partly = request.acceptLoss && partlyDone(journal, name)
    if (partly !== undefined) journal.setStatus(partly.id, 'done')
    conclusion.conclude({
      certificate,
      certificateSha256: sha256,
      ...(dropped.length === 0 ? {} : { droppedPlaces: droppedFacts(dropped) }),
    })
    return { subject, certificate: join(workspace.home.path, certificate), scans, places }
  })
}

type Proof = {
  readonly scans: readonly (readonly Census[])[]
  readonly dropped: readonly KnownPlace[]
  readonly shrunk: readonly ShrunkPlace[]
}

async function twoScans(workspace: Workspace, request: RetireRequest, ttlMs: number): Promise<Proof> {
  const session = await openSession(workspace, { key: request.name, exclusive: true })
  try {
    const { drop, acceptShrunk: accept } = request
    let shrunk: readonly ShrunkPlace[] = []
    let dropped = await refuseMissingPlaces(session, request, { drop })
    await refuseUndeclared(workspace, request)
    const scans: Census[][] = []
    for (const delay of [0, ttlMs]) {
      await wait(delay)
      const scan: Census[] = []
      for (const workload of session.workloads) {
        scan.push(await workload.census({ phase: 'verify', events: request.events }))
      }
      const undeclared = (census: Census): number =>
        session.workloads.find(({ name }) => name === census.envelope)?.plaintext === true
          ? 0
          : census.plaintext
      refuseRemaining(request, scan, undeclared)
      refuseInner(request, scan)
      dropped = await refuseMissingPlaces(session, request, { drop, censuses: scan })
      shrunk = await refuseShrunkPlaces(session, request, { accept, censuses: scan })
      scans.push(scan)
    }
    for (const workload of session.workloads) await workload.settle()
    await rememberPlaces(session, scans.at(-1) ?? [], { shrunk: shrunk.map(({ place }) => place) })
    return { scans, dropped, shrunk }
  } finally {
    await session.close()
  }
}

async function wait(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 1000) {
    stopIfInterrupted(undefined)
    await sleep(Math.min(left, 1000))
  }
}

/** @param undeclared values that look unsealed where none were declared: they may be sealed in another way */
function refuseRemaining(
  request: RetireRequest,
  scan: readonly Census[],
  undeclared: (census: Census) => number,
): void {
  const { name, version } = request
  const subject = `${name}@${version}`
  const holding = scan.filter((census) => (census.byVersion.get(version) ?? 0) > 0)
  if (holding.length > 0) {
    const total = holding.reduce((sum, census) => sum + (census.byVersion.get(version) ?? 0), 0)
    throw new KvxError(
      'VALUES_REMAIN',
      `${total} ${total === 1 ? 'value needs' : 'values need'} ${subject}: ${holding.map((census) => `${census.envelope} ${census.byVersion.get(version) ?? 0}`).join(', ')}; the key is untouched`,
      {
        hint: 'Move them with `kvx rewrap` or `kvx reencrypt`, then retire again.',
        details: { subject, remaining: total },
      },
    )
  }
  const lying = scan.filter((census) => census.wrongLabels.has(version))
  if (lying.length > 0) {
    const total = lying.reduce((sum, census) => sum + (census.wrongLabels.get(version) ?? 0), 0)
    throw new KvxError(
      'VALUES_REMAIN',
      `${total} ${total === 1 ? 'record names' : 'records name'} ${subject}, and another version opens ${total === 1 ? 'it' : 'them'}: ${lying.map(({ envelope }) => envelope).join(', ')}; the key is untouched`,
      {
        hint: 'A reader that goes by the number would ask for the retired key. Set the numbers right with `kvx rewrap` or `kvx reencrypt`, then retire again.',
        details: { subject, remaining: total },
      },
    )
  }
  const unreadable = scan.reduce((sum, census) => sum + census.unreadable + undeclared(census), 0)
  if (unreadable <= (request.acceptLoss?.count ?? 0)) return
  throw new KvxError(
    'UNREADABLE_RECORDS',
    `${unreadable} ${unreadable === 1 ? 'record opens' : 'records open'} with no known key or ${unreadable === 1 ? 'is' : 'are'} not sealed as declared, so nothing is proven about ${unreadable === 1 ? 'it' : 'them'}; the key is untouched`,
    {
      hint: `\`kvx verify\` names them. If they are lost anyway: \`--accept-loss ${unreadable} --reason TEXT\`.`,
      details: { subject, unreadable },
    },
  )
}

/** `certificates/…json` under the home: what was counted in both scans, signed. Durable when this returns. */
async function writeCertificate(
  workspace: Workspace,
  request: RetireRequest,
  { scans, dropped, shrunk }: Proof,
): Promise<{ readonly certificate: string; readonly sha256: string }> {
  const { name, version } = request
  const { fingerprint } = versionOf(keyOf(await readKeyring(workspace.home), name), name, version)
  const head = await workspace.audit.head()
  const document = {
    schema: 'kvx.retirement/1',
    subject: `${name}@${version}`,
    fingerprint: fingerprint ?? '',
    at: isoNow(),
    actor: currentActor(),
    scans: scans.map((scan) => scan.map(countsOf)),
    droppedPlaces: dropped.map((place) => ({ ...place })),
    droppedReason: dropped.length === 0 ? null : (request.drop?.reason ?? null),
    shrunkPlaces: shrunk.map(({ place, count }) => ({ ...place, now: count })),
    shrunkReason: shrunk.length === 0 ? null : (request.acceptShrunk?.reason ?? null),
    acceptedLoss: request.acceptLoss === undefined ? null : { ...request.acceptLoss },
    audit: { seq: head.seq, head: head.head },
  }
  const folder = join(workspace.home.path, 'certificates')
  await makeDirectory(folder, 0o700)
  const file = `${name}.v${version}.${randomId()}.json`
  const bytes = Buffer.from(`${JSON.stringify(signDocument(document, workspace.signer), null, 2)}\n`)
  await writeState(join(folder, file), bytes)
  return { certificate: `certificates/${file}`, sha256: sha256Of(bytes) }
}

/**
 * A crash between the mark and the unpublishing leaves a retired version in the previous slot: takes it out.
 * @returns undefined when the version is not retired
 */
export async function finishRetirement(
  workspace: Workspace,
  name: string,
  version: number,
): Promise<readonly PublishedPlace[] | undefined> {
  const config = configuredKey(workspace.config, name)
  const ring = await readKeyring(workspace.home)
  if (versionOf(keyOf(ring, name), name, version).retired === null) return undefined
  if ((await publicationDrift(ring, name, config)).length === 0) return []
  return withIntent(workspace.audit, { action: 'key.publish', subject: name }, async () =>
    publishKey(workspace.home, { name, config }),
  )
}

/** Takes the mark back as long as the material exists. The version opens again and is not published. */
export async function unretireVersion(workspace: Workspace, name: string, version: number): Promise<void> {
  const subject = `${name}@${version}`
  await changeLogged(workspace, { action: 'key.unretire', subject }, (ring) => {
    const record = versionOf(keyOf(ring, name), name, version)
    if (record.retired === null || record.state === 'destroyed') {
      throw new KvxError('STATE_TRANSITION', `${subject} is not retired`, {
        hint: `\`kvx key show ${name}\` tells its life.`,
      })
    }
    refuseBegun(record, subject)
    record.retired = null
    // A later retirement starts a waiting time of its own.
    record.destruction = null
  })
}
