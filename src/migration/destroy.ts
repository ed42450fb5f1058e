import { type ApprovedBy, refuseUnapproved } from '../approvals/gate.ts'
import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import {
  changeKeyring,
  keyOf,
  moveState,
  readKeyring,
  usePlan,
  versionOf,
  versionsOf,
} from '../keyring/keyring.ts'
import { materialPath } from '../keyring/home.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { currentActor } from '../platform/actor.ts'
import { isoNow, now } from '../platform/clock.ts'
import { eraseFile, type Erased } from '../platform/erase-file.ts'
import { exists, fsyncDirectory } from '../platform/files.ts'
import { tempPathOf } from '../platform/temp-file.ts'
import type { Census } from './census.ts'
import { refuseUndeclared } from './discover/refuse-undeclared.ts'
import { refuseBegun, remainingCopies, type RemainingCopy } from './erasure.ts'
import type { Events } from './events.ts'
import { refuseOpenRun } from './gates.ts'
import type { Journal } from './journal.ts'
import { forgetRun } from './forget.ts'
import { openLedger, type LedgerEntry } from './ledger.ts'
import { droppedFacts, forgetPlaces, refuseMissingPlaces, rememberPlaces, type DropPlaces } from './places.ts'
import type { KnownPlace } from './places-file.ts'
import { refuseInner } from './sealed-twice.ts'
import { openSession } from './session.ts'

export type Subject = { readonly name: string; readonly version: number }

export type Scheduled = { readonly due: string; readonly ledger: readonly LedgerEntry[] }

/**
 * Schedules the end of a version's material. Nothing is erased before the waiting time is over and everything
 * that may need it is settled.
 * @throws NOT_RETIRED, RUN_OPEN, STATE_TRANSITION, CLOCK_BEHIND
 */
export async function scheduleDestruction(
  workspace: Workspace,
  journal: Journal,
  subject: Subject,
  waiting: { readonly afterMs: number; readonly approvedBy?: ApprovedBy | undefined },
): Promise<Scheduled> {
  const { name, version } = subject
  const { afterMs, approvedBy } = waiting
  refuseUnapproved(workspace.config, ['destroy'], approvedBy, `destroy ${label(subject)}`)
  const due = `${new Date(now().getTime() + afterMs).toISOString().slice(0, 19)}Z`
  const ring = await readKeyring(workspace.home)
  checkSchedulable(ring, journal, subject)
  await refuseClockBehind(workspace)
  await withIntent(
    workspace.audit,
    { action: 'key.destroy.schedule', subject: label(subject), data: { due } },
    async () =>
      changeKeyring(workspace.home, (draft) => {
        checkSchedulable(draft, journal, subject)
        usePlan(draft, approvedBy)
        versionOf(keyOf(draft, name), name, version).destruction = {
          scheduled: isoNow(),
          due,
          actor: currentActor(),
          ...(approvedBy && { plan: approvedBy.digest }),
        }
      }),
  )
  return { due, ledger: await openLedger(workspace, journal, ring, subject) }
}

/** What can be refused before a waiting time begins. @throws NOT_RETIRED, RUN_OPEN, STATE_TRANSITION */
export function checkSchedulable(ring: Keyring, journal: Journal, subject: Subject): void {
  refuseUndestroyable(ring, journal, subject)
  refuseBegun(versionOf(keyOf(ring, subject.name), subject.name, subject.version), label(subject))
}

/** What can be refused before the last scan. @throws NOT_RETIRED, RUN_OPEN, LEDGER_OPEN, STATE_TRANSITION */
export function checkDestroyable(ring: Keyring, journal: Journal, subject: Subject): void {
  refuseUndestroyable(ring, journal, subject)
  refuseWaiting(ring, subject)
}

/** Takes a scheduled destruction back. @throws STATE_TRANSITION when none is scheduled */
export async function cancelDestruction(workspace: Workspace, subject: Subject): Promise<void> {
  const { name, version } = subject
  await withIntent(workspace.audit, { action: 'key.destroy.cancel', subject: label(subject) }, async () =>
    changeKeyring(workspace.home, (draft) => {
      const record = versionOf(keyOf(draft, name), name, version)
      if (record.destruction === null || record.state === 'destroyed') {
        throw new KvxError('STATE_TRANSITION', `no destruction of ${label(subject)} is scheduled`, {
          hint: `\`kvx key show ${name}\` tells its life.`,
        })
      }
      refuseBegun(record, label(subject))
      record.destruction = null
    }),
  )
}

/** Versions that wait for their end, and when each one's waiting time is over. */
export function scheduledDestructions(ring: Keyring): readonly (Subject & { readonly due: string })[] {
  return Object.entries(ring.keys).flatMap(([name, key]) =>
    versionsOf(key).flatMap(([version, { destruction, state }]) =>
      destruction === null || state === 'destroyed' ? [] : [{ name, version, due: destruction.due }],
    ),
  )
}

/** Those whose waiting time is over. */
export function dueDestructions(ring: Keyring): readonly Subject[] {
  return scheduledDestructions(ring).filter(({ due }) => Date.parse(due) <= now().getTime())
}

export type Destroyed = {
  readonly subject: string
  readonly erased: Erased | undefined
  /** Backups and share sets of this home that still hold the key: until they go, it exists. */
  readonly copies: readonly RemainingCopy[]
  readonly censuses: readonly Census[]
}

export type DestroyOptions = {
  /** So many values become unreadable, with the reason that is signed. */
  readonly acceptLoss: { readonly count: number; readonly reason: string } | undefined
  /** Places that had values and are gone for good, by name, with the reason that is signed. */
  readonly drop: DropPlaces | undefined
  /** The plan that was approved for it; a schedule that was approved needs no second one. */
  readonly approvedBy?: ApprovedBy | undefined
  readonly events: Events
}

/**
 * Erases the material of a version whose time is over: settles the ledger, scans the primary in full once more,
 * records that the erasure begins, overwrites and unlinks the key file, then marks the record, which stays. May be
 * repeated after a crash.
 * @throws LEDGER_OPEN, VALUES_REMAIN, PLACE_MISSING, CLOCK_BEHIND, NOT_RETIRED; the key file is as it was then
 */
export async function destroyVersion(
  workspace: Workspace,
  journal: Journal,
  subject: Subject,
  options: DestroyOptions,
): Promise<Destroyed> {
  const { name, version } = subject
  const ring = await readKeyring(workspace.home)
  refuseUndestroyable(ring, journal, subject)
  await refuseClockBehind(workspace)
  refuseWaiting(ring, subject)
  refuseUnapprovedEnd(workspace, ring, subject, options)
  const ledger = await openLedger(workspace, journal, ring, subject)
  const open = ledger.filter(({ expired }) => expired === undefined)
  if (open.length > 0) throw ledgerOpen(subject, open)
  const { acceptLoss, drop } = options
  const loss = {
    ...(acceptLoss && { acceptedLoss: acceptLoss.count, reason: acceptLoss.reason }),
    ...(drop && { dropPlaces: drop.names, reason: drop.reason }),
  }
  return withIntent(
    workspace.audit,
    { action: 'key.destroy', subject: label(subject), data: loss },
    async (conclusion) => {
      const { censuses, dropped } = await lastScan(workspace, subject, options)
      await refuseClockBehind(workspace)
      await changeKeyring(workspace.home, (draft) => {
        // The scan took its time: it may have been cancelled, unretired or scheduled anew meanwhile.
        checkDestroyable(draft, journal, subject)
        const { destruction } = versionOf(keyOf(draft, name), name, version)
        if (destruction === null) throw notScheduled(subject)
        destruction.begun ??= isoNow()
      })
      // A restore from them would put bytes in place that nothing opens any more.
      for (const { expired } of ledger)
        if (expired !== undefined) await forgetRun(workspace, journal.get(expired), false)
      const erased = await eraseMaterial(workspace, subject)
      await changeKeyring(workspace.home, (draft) => {
        const record = versionOf(keyOf(draft, name), name, version)
        record.canary = null
        usePlan(draft, options.approvedBy) // only now: until here the same plan goes on after a crash
        if (record.state !== 'destroyed')
          moveState(record, label(subject), 'destroyed', 'its waiting time was over')
      })
      await forgetPlaces(workspace.home, name, dropped)
      conclusion.conclude({
        fileSystem: erased?.fileSystem ?? 'none',
        inPlace: erased?.inPlace ?? false,
        ...(dropped.length === 0 ? {} : { droppedPlaces: droppedFacts(dropped) }),
      })
      return {
        subject: label(subject),
        erased,
        copies: await remainingCopies(workspace, subject),
        censuses,
      }
    },
  )
}

/** What a schedule was approved for is not a loss that is accepted at its end. */
function refuseUnapprovedEnd(
  { config }: Workspace,
  ring: Keyring,
  subject: Subject,
  { acceptLoss, drop, approvedBy }: DestroyOptions,
): void {
  const { destruction } = versionOf(keyOf(ring, subject.name), subject.name, subject.version)
  const plan = acceptLoss === undefined && drop === undefined ? destruction?.plan : undefined
  const by = approvedBy ?? (plan === undefined ? undefined : { digest: plan })
  refuseUnapproved(config, ['destroy'], by, `destroy ${label(subject)} --due`)
}

function label({ name, version }: Subject): string {
  return `${name}@${version}`
}

function refuseUndestroyable(ring: Keyring, journal: Journal, subject: Subject): void {
  const key = keyOf(ring, subject.name)
  const record = versionOf(key, subject.name, subject.version)
  if (record.state === 'destroyed') {
    throw new KvxError('STATE_TRANSITION', `${label(subject)} is destroyed already`, {
      hint: `\`kvx key show ${subject.name}\` tells when.`,
    })
  }
  refuseOpenRun(journal, subject.name)
  const neverUsed = record.state === 'pre-activation' && key.staged !== subject.version
  if (record.retired !== null || neverUsed) return
  throw new KvxError(
    'NOT_RETIRED',
    `${label(subject)} is not retired, so nothing proves that no value needs it`,
    {
      hint: `First the gate: \`kvx retire ${label(subject)}\`.`,
    },
  )
}

function refuseWaiting(ring: Keyring, subject: Subject): void {
  const { destruction } = versionOf(keyOf(ring, subject.name), subject.name, subject.version)
  if (destruction === null) throw notScheduled(subject)
  if (Date.parse(destruction.due) <= now().getTime()) return
  throw new KvxError(
    'LEDGER_OPEN',
    `the waiting time of ${label(subject)} is over at ${destruction.due}, not before`,
    {
      hint: `Until then it can be stopped: \`kvx destroy ${label(subject)} --cancel\`.`,
    },
  )
}

/** A crash while the file was made can have left its bytes under the name of an unfinished file as well. */
async function eraseMaterial(workspace: Workspace, { name, version }: Subject): Promise<Erased | undefined> {
  const path = materialPath(workspace.home, name, version)
  if (await exists(tempPathOf(path))) await eraseFile(tempPathOf(path))
  if (await exists(path)) return eraseFile(path)
  await fsyncDirectory(workspace.home.keys)
  return undefined
}

function notScheduled(subject: Subject): KvxError {
  return new KvxError('LEDGER_OPEN', `no destruction of ${label(subject)} is scheduled`, {
    hint: `Schedule it: \`kvx destroy ${label(subject)} --after 7d\`.`,
  })
}

/** A clock that was set forward and back, or a machine that lost its time, must not end a waiting time early. */
async function refuseClockBehind(workspace: Workspace): Promise<void> {
  const { at } = await workspace.audit.head()
  if (at === undefined || Date.parse(at) <= now().getTime() + 1000) return
  throw new KvxError('CLOCK_BEHIND', `the clock says ${isoNow()}, the last entry of the audit log ${at}`, {
    hint: 'Set the clock of this machine, then run the command again. Nothing was erased.',
  })
}

function ledgerOpen(subject: Subject, ledger: readonly LedgerEntry[]): KvxError {
  const [first] = ledger
  const without = first?.kind === 'published' ? 'No command reaches it.' : 'Only time settles it.'
  const settle = first?.settle === undefined ? without : `Settle it: \`${first.settle}\`.`
  return new KvxError(
    'LEDGER_OPEN',
    `${label(subject)} may still be needed: ${ledger.map(({ message }) => message).join('; ')}`,
    {
      hint: `${settle} The key is untouched.`,
      details: { subject: label(subject), open: ledger.length },
    },
  )
}

async function lastScan(
  workspace: Workspace,
  subject: Subject,
  options: DestroyOptions,
): Promise<{ readonly censuses: readonly Census[]; readonly dropped: readonly KnownPlace[] }> {
  const session = await openSession(workspace, { key: subject.name, exclusive: true })
  try {
    const { drop } = options
    await refuseMissingPlaces(session, subject, { drop })
    // An erasure that was begun is finished: its key file opens nothing any more, whatever is found.
    const { destruction } = versionOf(keyOf(session.ring, subject.name), subject.name, subject.version)
    if (destruction?.begun === undefined)
      await refuseUndeclared(workspace, { ...subject, events: options.events })
    const censuses: Census[] = []
    for (const workload of session.workloads) {
      censuses.push(await workload.census({ phase: 'verify', events: options.events }))
    }
    const declared = new Set(session.workloads.filter(({ plaintext }) => plaintext).map(({ name }) => name))
    const left = censuses.reduce(
      (sum, { byVersion, wrongLabels, unreadable, envelope, plaintext }) =>
        sum +
        (byVersion.get(subject.version) ?? 0) +
        (wrongLabels.get(subject.version) ?? 0) +
        unreadable +
        (declared.has(envelope) ? 0 : plaintext),
      0,
    )
    if (left > (options.acceptLoss?.count ?? 0)) throw valuesRemain(session.ring, subject, left)
    refuseInner(subject, censuses)
    const dropped = await refuseMissingPlaces(session, subject, { drop, censuses })
    await rememberPlaces(session, censuses)
    return { censuses, dropped }
  } finally {
    await session.close()
  }
}

function valuesRemain(ring: Keyring, subject: Subject, left: number): KvxError {
  const { destruction } = versionOf(keyOf(ring, subject.name), subject.name, subject.version)
  const state =
    destruction?.begun === undefined
      ? 'the key is untouched'
      : `its erasure began at ${destruction.begun}, so a backup is what can still open them`
  const need = left === 1 ? 'value needs' : 'values need'
  return new KvxError(
    'VALUES_REMAIN',
    `${left} ${need} ${label(subject)}, ${left === 1 ? 'opens' : 'open'} with no known key or ${left === 1 ? 'is' : 'are'} not sealed as declared; ${state}`,
    {
      hint: `\`kvx verify\` names them. If they are lost anyway: \`kvx destroy ${label(subject)} --due --accept-loss ${left} --reason TEXT\`.`,
      details: { subject: label(subject), remaining: left },
    },
  )
}
