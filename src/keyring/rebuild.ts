import { withIntent } from '../audit/with-intent.ts'
import { loadAuditKey } from '../audit/audit-key.ts'
import { openAudit } from '../audit/audit.ts'
import { listBackups } from '../backup/backups.ts'
import type { Config } from '../config/config.ts'
import { sealCanary } from '../core/canary.ts'
import { KvxError } from '../core/errors.ts'
import { fingerprintOf } from '../core/fingerprint.ts'
import { currentActor } from '../platform/actor.ts'
import { isoNow } from '../platform/clock.ts'
import { exists, listDirectory, readFileCapped } from '../platform/files.ts'
import { randomBytes } from '../platform/random.ts'
import { writeState } from '../platform/state-file.ts'
import { whileHomeLocked } from './home-lock.ts'
import { homeAt, type Home } from './home.ts'
import {
  emptyKeyring,
  encodeKeyring,
  type KeyRecord,
  type Keyring,
  type VersionRecord,
} from './keyring-file.ts'
import { moveState, reservedVersion } from './keyring.ts'
import { readMaterial } from './material.ts'
import { makePublisher } from './publish/publish.ts'

export type Rebuilt = {
  readonly ring: Keyring
  /** Where the old, unreadable keyring went; undefined when there was none. */
  readonly kept: string | undefined
  readonly warnings: readonly { readonly code: string; readonly message: string }[]
}

/** A version that an unfinished rotation made, and that has not sealed yet. */
export type WaitingVersion = { readonly version: number; readonly run: string }

export type RebuildOptions = {
  /** By the name of their key, as the journal of runs tells them. */
  readonly waiting: ReadonlyMap<string, WaitingVersion>
  readonly dryRun: boolean
}

/**
 * Makes `keyring.json` again from what is true for bytes: key files, manifests of backups (for purposes and for
 * versions whose file is gone), and published places, which tell which version seals; a version that a rotation
 * waits with stays `pre-activation`. States that nothing tells are `deactivated`: such a version opens and seals
 * nothing. An existing keyring is kept beside the new one.
 * @throws USAGE when no key file is there to begin from
 */
export async function rebuildKeyring(config: Config, options: RebuildOptions): Promise<Rebuilt> {
  const home = homeAt(config.home)
  const { signer } = await loadAuditKey(home.audit)
  return await whileHomeLocked(home, async () => {
    const { ring, guesses } = await collect(home, config, options.waiting)
    if (Object.keys(ring.keys).length === 0) {
      throw new KvxError('USAGE', `there is no key file in ${home.keys} to rebuild from`, {
        hint: 'Make the home from its copy: `kvx restore --from home FILE`.',
      })
    }
    const warnings = [
      {
        code: 'REBUILT',
        message:
          'histories, retirements and reservations are lost with the old keyring; run `kvx verify` before anything else',
      },
      ...guesses,
    ]
    if (options.dryRun) return { ring, kept: undefined, warnings }
    const audit = openAudit(home.audit, { signer })
    const kept = await withIntent(audit, { action: 'keyring.rebuild' }, async () => replace(home, ring))
    return { ring, kept, warnings }
  })
}

async function replace(home: Home, ring: Keyring): Promise<string | undefined> {
  let kept: string | undefined
  if (await exists(home.keyring)) {
    const { bytes } = await readFileCapped(home.keyring, { maxBytes: 64 * 1_048_576 })
    kept = `${home.keyring}.before-${isoNow().replaceAll(/[-:]/g, '')}`
    await writeState(kept, bytes)
  }
  await writeState(home.keyring, encodeKeyring(ring))
  return kept
}

async function collect(
  home: Home,
  config: Config,
  waiting: RebuildOptions['waiting'],
): Promise<{ readonly ring: Keyring; readonly guesses: Rebuilt['warnings'] }> {
  const ring = emptyKeyring()
  const guesses: Rebuilt['warnings'][number][] = []
  for (const file of await listDirectory(home.keys)) {
    const match = /^([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.v([1-9]\d{0,8})\.key$/.exec(file)
    if (match?.[1] === undefined || match[2] === undefined) continue
    await addFromFile(home, ring, { name: match[1], version: Number(match[2]) })
  }
  for (const { manifest } of (await listBackups(home.backups)).backups) {
    const key = (ring.keys[manifest.name] ??= emptyKey(manifest.purpose))
    key.purpose = manifest.purpose
    key.next = Math.max(key.next, manifest.version + 1)
    key.versions[String(manifest.version)] ??= known(manifest.fingerprint, 32)
  }
  for (const [name, key] of Object.entries(ring.keys)) {
    key.purpose = config.keys[name]?.purpose ?? key.purpose
    guesses.push(...(await settleFromPlaces(config, { name, key }, waiting.get(name))))
  }
  return { ring, guesses }
}

function emptyKey(purpose: KeyRecord['purpose']): KeyRecord {
  return { purpose, next: 1, seals: null, previous: null, staged: null, versions: {} }
}

function known(fingerprint: string, bytes: number): VersionRecord {
  const record = { ...reservedVersion('restore', null), fingerprint, bytes }
  return record
}

async function addFromFile(
  home: Home,
  ring: Keyring,
  at: { readonly name: string; readonly version: number },
): Promise<void> {
  const { name, version } = at
  const material = await readMaterial(home, name, version)
  try {
    const record = known(fingerprintOf(material), material.length)
    record.canary = sealCanary(material, `${name}@${version}`, randomBytes(12))
    const key = (ring.keys[name] ??= emptyKey('kek'))
    key.versions[String(version)] = record
    key.next = Math.max(key.next, version + 1)
  } finally {
    material.wipe()
  }
}

/**
 * The first published place that holds a known key tells which version seals and which is the previous one. Where
 * none does, the newest seals: numbers only grow.
 * @returns what an operator must be told of guesses
 */
async function settleFromPlaces(
  config: Config,
  { name, key }: { readonly name: string; readonly key: KeyRecord },
  waiting: WaitingVersion | undefined,
): Promise<Rebuilt['warnings']> {
  await readPlaces(config, name, key)
  const waits = takeWaiting(key, waiting)
  const numbered = Object.entries(key.versions)
    .map(([version, record]) => ({ version: Number(version), record }))
    .filter(({ version }) => version !== waits)
  const isPublished = (config.keys[name]?.publish.length ?? 0) > 0
  const isGuess = key.seals === null && isPublished
  key.seals ??= newestOf(numbered, key.previous)
  if (key.previous === key.seals) key.previous = null
  for (const { version, record } of numbered) {
    const subject = `${name}@${version}`
    moveState(record, subject, 'active', 'the keyring was rebuilt')
    if (version !== key.seals) moveState(record, subject, 'deactivated', 'the keyring was rebuilt')
    record.rollout = { how: 'import', at: isoNow(), actor: currentActor() }
  }
  return [...(isGuess ? [sealsGuessed(name, key.seals)] : []), ...stateGuessed(name, key)]
}

async function readPlaces(config: Config, name: string, key: KeyRecord): Promise<void> {
  const byFingerprint = (fingerprint: string | undefined): number | null => {
    const found = Object.entries(key.versions).find(
      ([, record]) => fingerprint !== undefined && record.fingerprint === fingerprint,
    )
    return found === undefined ? null : Number(found[0])
  }
  for (const place of config.keys[name]?.publish ?? []) {
    const slots = await makePublisher(place).inspect()
    key.seals ??= byFingerprint(slots.current)
    key.previous ??= byFingerprint(slots.previous)
  }
}

/**
 * A rotation that goes on later finds its version as it left it: staged where readers have it, and in no case one
 * that sealed.
 * @returns its number; undefined where nothing waits
 */
function takeWaiting(key: KeyRecord, waiting: WaitingVersion | undefined): number | undefined {
  if (waiting === undefined || waiting.version === key.seals) return undefined
  const { version, run } = waiting
  const record = key.versions[String(version)]
  if (record === undefined || Object.keys(key.versions).length === 1) return undefined
  record.run = run
  record.origin = 'generated'
  if (key.previous === version) [key.staged, key.previous] = [version, null]
  return version
}

function sealsGuessed(name: string, seals: number): Rebuilt['warnings'][number] {
  return {
    code: 'SEALS_GUESSED',
    message: `no published place holds a current key of ${name}: ${name}@${seals}, the newest, is taken for the one that seals; look with \`kvx verify\` before \`kvx key publish ${name}\``,
  }
}

/** A newer version in the previous slot was staged, or rolled back. As one that opens it loses no value. */
function stateGuessed(name: string, { seals, previous }: KeyRecord): Rebuilt['warnings'] {
  if (previous === null || seals === null || previous < seals) return []
  const subject = `${name}@${previous}`
  const message = `${subject} lies in the previous slot and is newer than ${name}@${seals}, which seals: it was staged, or rolled back, and no run tells which. It is taken as deactivated, so that it opens whatever lies under it; \`kvx retire ${subject}\` frees the slot when nothing does`
  return [{ code: 'STATE_GUESSED', message }]
}

/** One whose key file is there, and not the one in the previous slot, where there is a choice. */
function newestOf(
  numbered: readonly { readonly version: number; readonly record: VersionRecord }[],
  previous: number | null,
): number {
  const others = numbered.filter(({ version }) => version !== previous)
  const held = others.filter(({ record }) => record.canary !== null)
  const [choice] = [held, others, numbered].filter((list) => list.length > 0)
  return Math.max(...(choice ?? []).map(({ version }) => version))
}
