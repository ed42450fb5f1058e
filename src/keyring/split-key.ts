import { looksLikeKey } from '../audit/entry-guard.ts'
import { withIntent } from '../audit/with-intent.ts'
import type { BackupWarning } from '../backup/errors.ts'
import { type CeremonyId, newCeremonyId } from '../backup/shares/ceremony-id.ts'
import {
  checkCustodians,
  type CheckedCustodian,
  type Custodian,
  requirePlan,
  type SharePlan,
} from '../backup/shares/custodians.ts'
import { listShareSets, type StoredShareSet } from '../backup/shares/share-sets.ts'
import { splitToCustodians, type SplitRequest } from '../backup/shares/split.ts'
import { shownSet } from '../backup/shares/share-set.ts'
import { sharedKeyLength } from '../core/share/shamir.ts'
import { KvxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { currentActor } from '../platform/actor.ts'
import { kvxVersion } from '../version.ts'
import { type Delivered, deliverShares } from './deliver.ts'
import { type HandOver, handOverCards } from './hand-over.ts'
import { keyOf, readKeyring, refreshCopy, versionOf } from './keyring.ts'
import type { VersionRecord } from './keyring-file.ts'
import { loadMaterial } from './material.ts'
import type { Workspace } from './workspace.ts'

export type SplitKeyRequest = {
  readonly name: string
  /** The version that seals when undefined. */
  readonly version: number | undefined
  readonly threshold: number | undefined
  readonly of: number | undefined
  /** In place of the configured ones where there are any. */
  readonly custodians: readonly Custodian[]
  readonly keyFiles?: readonly string[]
  readonly dryRun?: boolean
  /** How custodians without an OpenPGP key get theirs; undefined where nobody is at a terminal. */
  readonly handOver?: HandOver | undefined
  /** Cards for custodians with an OpenPGP key too. */
  readonly cardsForAll?: boolean
  /** Cards name neither key nor custodian. */
  readonly discreet?: boolean
  /** In which ceremony; a new one unless told. */
  readonly ceremony?: CeremonyId | undefined
  /** Asked when everything is known, before the key is read. A rejection leaves everything as it was. */
  readonly agree?: ((planned: PlannedSplit) => Promise<void>) | undefined
}

/** What is known of a split before the key is read. */
export type PlannedSplit = Pick<SplitOfKey, 'subject' | 'plan' | 'custodians'> & {
  readonly ceremony: CeremonyId
}

/** What a reshare knows beforehand. */
export type Replacing = {
  /** Ids of the sets that the new one takes the place of. */
  readonly supersedes: readonly string[]
  /** Numbers and people where neither flags nor the configuration say any. */
  readonly plan: SharePlan
  /** The key out of a quorum of an old set, proven; the home's own key when undefined. Wiped here. */
  readonly rebuild: (() => Promise<Secret>) | undefined
}

export type SplitOfKey = {
  readonly subject: string
  readonly plan: SharePlan
  readonly custodians: readonly CheckedCustodian[]
  readonly warnings: readonly BackupWarning[]
  /** Undefined for a dry run. */
  readonly stored: StoredShareSet | undefined
  /** Shares that a program should have delivered, and did not take. The set is whole all the same. */
  readonly undelivered: readonly KvxError[]
}

/**
 * Splits a version among custodians: one encrypted file each, or a card that is handed over. Everything that can refuse does so before the key is
 * read; its fingerprint and its canary are proven before it is split.
 * @throws USAGE (numbers, custodians, a key of another length), NO_TERMINAL naming custodians without an OpenPGP
 * key, RECIPIENT_UNUSABLE, KEY_UNKNOWN, VERSION_UNKNOWN, FINGERPRINT_DIFFERS, CANARY_FAILED, READ_BACK_FAILED
 */
export async function splitKeyOf(
  workspace: Workspace,
  request: SplitKeyRequest,
  replacing?: Replacing,
): Promise<SplitOfKey> {
  const { name } = request
  const ring = await readKeyring(workspace.home)
  const key = keyOf(ring, name)
  const version = request.version ?? key.seals
  if (version === null) {
    throw new KvxError('STATE_TRANSITION', `no version of ${name} is active`, {
      hint: `Name one: \`kvx backup split ${name}@1\`.`,
    })
  }
  const subject = `${name}@${version}`
  const record = versionOf(key, name, version)
  requireSplittable(record, subject)
  const plan = requirePlan(planOf(workspace, request, replacing?.plan))
  refuseKeyLikeNames(plan)
  const cards = { isPossible: request.handOver !== undefined, forAll: request.cardsForAll === true }
  const { checked, warnings } = await checkCustodians(
    plan.custodians,
    { keyFiles: request.keyFiles ?? [] },
    cards,
  )
  const pending = await pendingSets(workspace, { name, version, except: replacing?.supersedes ?? [] })
  const planned = { subject, plan, custodians: checked, warnings: [...warnings, ...pending] }
  if (request.dryRun === true) return { ...planned, stored: undefined, undelivered: [] }
  const ceremony = request.ceremony ?? newCeremonyId()
  await request.agree?.({ ...planned, ceremony })
  const material = await (replacing?.rebuild?.() ?? loadMaterial(workspace.home, name, version, record))
  try {
    const facts = { name, version, purpose: key.purpose, material, ceremony }
    const { stored, failed } = await splitLogged(workspace, facts, { planned, request, replacing })
    await refreshCopy(workspace.home)
    return { ...planned, stored, undelivered: failed }
  } finally {
    material.wipe()
  }
}

type Splitting = {
  readonly planned: Omit<SplitOfKey, 'stored' | 'undelivered'>
  readonly request: SplitKeyRequest
  readonly replacing: Replacing | undefined
}

async function splitLogged(
  workspace: Workspace,
  key: Pick<SplitRequest, 'name' | 'version' | 'purpose' | 'material'> & { readonly ceremony: CeremonyId },
  { planned, request, replacing }: Splitting,
): Promise<Delivered> {
  const { subject, plan, custodians } = planned
  const { handOver, discreet = false } = request
  const supersedes = replacing?.supersedes ?? []
  const data = {
    threshold: plan.threshold,
    of: plan.of,
    custodians: plan.custodians.map((one) => one.name),
    ceremony: key.ceremony.id,
    ...(supersedes.length === 0 ? {} : { supersedes: supersedes.map((set) => shownSet({ set })) }),
  }
  const action = supersedes.length === 0 ? 'backup.split' : 'backup.reshare'
  return withIntent(workspace.audit, { action, subject, data }, async (conclusion) => {
    const made = await splitToCustodians({
      ...key,
      threshold: plan.threshold,
      custodians,
      signer: workspace.signer,
      directory: workspace.home.backups,
      kvxVersion,
      rehearsal: workspace.config.rehearsal,
      supersedes,
      ...(handOver === undefined
        ? {}
        : {
            handOver: async (shares, stored) => {
              const dealt = { stored, shares, custodians }
              return handOverCards(workspace, dealt, { handOver, discreet, by: currentActor() })
            },
          }),
    })
    const deliveries = custodians.map(({ deliver }, at) => ({ index: at + 1, deliver }))
    const delivered = await deliverShares(workspace, made, deliveries)
    const { set } = delivered.stored
    conclusion.conclude({ set: shownSet(set), state: set.state, undelivered: delivered.failed.length })
    return delivered
  })
}

function requireSplittable(record: VersionRecord, subject: string): void {
  if (record.fingerprint === null || record.canary === null) {
    throw new KvxError('STATE_TRANSITION', `${subject} has no proven key yet`, {
      hint: 'a version is split once its key file and its canary are there: `kvx key list`',
    })
  }
  if (record.bytes === null || record.bytes === sharedKeyLength) return
  throw new KvxError(
    'USAGE',
    `${subject} has ${record.bytes} bytes; shares hold exactly ${sharedKeyLength}`,
    {
      hint: `Back it up by OpenPGP alone: \`kvx backup create ${subject}\`.`,
    },
  )
}

/** Names of custodians stand in the log, in the manifest and on every card. */
function refuseKeyLikeNames({ custodians }: SharePlan): void {
  const at = custodians.findIndex(({ name }) => looksLikeKey(name))
  if (at === -1) return
  throw new KvxError('USAGE', `the name of custodian ${at + 1} looks like a 32-byte key`, {
    hint: 'Name the person. Nothing was split.',
  })
}

/** Earlier sets that nobody finished confirming: of two sets, one is handed out. */
async function pendingSets(
  workspace: Workspace,
  { name, version, except }: { name: string; version: number; except: readonly string[] },
): Promise<readonly BackupWarning[]> {
  const { sets } = await listShareSets(workspace.home.backups)
  return sets
    .filter(({ set }) => set.name === name && set.version === version && set.state === 'pending')
    .filter(({ set }) => !except.includes(set.set))
    .map(({ set }) => ({
      code: 'SET_PENDING',
      message: `the set ${shownSet(set)} of ${set.created.slice(0, 10)} is pending too: hand out one of the two; shares of different sets rebuild nothing together`,
    }))
}

/** Flags win over the configuration; a number that nobody gave follows from the custodians. */
function planOf(workspace: Workspace, request: SplitKeyRequest, known: SharePlan | undefined): SharePlan {
  const configured = workspace.config.keys[request.name]?.backup?.shares
  const named = request.custodians.length > 0
  const custodians = named
    ? request.custodians
    : (configured?.custodians.map(({ name, openpgp, deliver }) => ({
        name,
        openpgp: openpgp?.toUpperCase(),
        deliver,
      })) ??
      known?.custodians ??
      [])
  const threshold = request.threshold ?? configured?.threshold ?? known?.threshold
  if (custodians.length === 0 || threshold === undefined) {
    throw new KvxError('USAGE', `it is not said who gets shares of ${request.name}, or how many rebuild it`, {
      hint: `Add \`backup: { shares: { threshold: 3, of: 5, custodians: [{ name, openpgp }] } }\` to the key, or give \`--threshold 3 --custodian NAME=FINGERPRINT\` for each.`,
    })
  }
  const of = request.of ?? (named ? custodians.length : (configured?.of ?? known?.of ?? custodians.length))
  return { threshold, of, custodians }
}
