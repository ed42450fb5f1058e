import { nearest } from '../config/nearest.ts'
import { KvxError } from '../core/errors.ts'
import { checkTransition, type KeyState } from '../core/key-state.ts'
import { currentActor } from '../platform/actor.ts'
import { isoNow } from '../platform/clock.ts'
import { fsyncDirectory, readFileCapped } from '../platform/files.ts'
import { writeState } from '../platform/state-file.ts'
import { whileHomeLocked } from './home-lock.ts'
import type { Home } from './home.ts'
import {
  encodeKeyring,
  parseKeyring,
  type KeyRecord,
  type Keyring,
  type VersionRecord,
} from './keyring-file.ts'

const maxKeyringBytes = 64 * 1_048_576

export async function readKeyring(home: Home): Promise<Keyring> {
  const { bytes } = await readFileCapped(home.keyring, { maxBytes: maxKeyringBytes })
  return parseKeyring(home.keyring, bytes)
}

/**
 * Takes the home's lock, reads the keyring again, lets `change` edit it, and replaces the file. When this
 * returns, the change survives a power cut. When `change` throws, nothing was written.
 */
export async function changeKeyring<T>(home: Home, change: (ring: Keyring) => T): Promise<T> {
  return await whileHomeLocked(home, async () => {
    // A process that died between its rename and the fsync of the directory left a state that shows and that a
    // power cut could still undo. What follows builds on it, so it is made durable first.
    await fsyncDirectory(home.path)
    const ring = await readKeyring(home)
    const before = JSON.stringify(ring)
    const result = change(ring)
    if (JSON.stringify(ring) !== before) {
      await writeState(home.keyring, encodeKeyring({ ...ring, generation: ring.generation + 1 }))
      await home.afterChange?.()
    }
    return result
  })
}

/** Brings the copy outside the home up to date after a change that is not one of the keyring, such as a backup. */
export async function refreshCopy(home: Home): Promise<void> {
  if (home.afterChange === undefined) return
  await whileHomeLocked(home, home.afterChange)
}

/** @throws KEY_UNKNOWN with the nearest name */
export function keyOf(ring: Keyring, name: string): KeyRecord {
  const key = Object.hasOwn(ring.keys, name) ? ring.keys[name] : undefined
  if (key !== undefined) return key
  const meant = nearest(name, Object.keys(ring.keys))
  throw new KvxError('KEY_UNKNOWN', `the keyring has no key ${name}`, {
    hint:
      meant === undefined
        ? `Take over the application's key with \`kvx key import ${name}\`, or make one with \`kvx keygen ${name}\`.`
        : `Did you mean ${meant}? \`kvx key list\` shows what there is.`,
  })
}

/** @throws VERSION_UNKNOWN */
export function versionOf(key: KeyRecord, name: string, version: number): VersionRecord {
  const record = key.versions[String(version)]
  if (record !== undefined) return record
  throw new KvxError('VERSION_UNKNOWN', `the key ${name} has no version ${version}`, {
    hint: `\`kvx key show ${name}\` lists its versions.`,
  })
}

/** Versions in rising order. */
export function versionsOf(key: KeyRecord): readonly (readonly [number, VersionRecord])[] {
  return Object.entries(key.versions)
    .map(([number, record]) => [Number(number), record] as const)
    .sort(([a], [b]) => a - b)
}

/** Moves a version to another state, with time, actor and reason. @throws STATE_TRANSITION */
export function moveState(record: VersionRecord, subject: string, to: KeyState, reason: string): void {
  checkTransition(subject, record.state, to)
  record.history.push({ at: isoNow(), from: record.state, to, actor: currentActor(), reason })
  record.state = to
}

/** A number that was never used, not yet backed by material. */
export function reservedVersion(origin: VersionRecord['origin'], run: string | null): VersionRecord {
  return {
    state: 'pre-activation',
    fingerprint: null,
    bytes: null,
    origin,
    created: isoNow(),
    run,
    canary: null,
    rollout: null,
    retired: null,
    destruction: null,
    withoutBackup: null,
    history: [],
  }
}

/**
 * A new version, or on the way back the one that it replaced. A suspended or compromised one never begins to seal:
 * somebody stopped it on purpose.
 * @throws STATE_TRANSITION
 */
export function requireActivatable(ring: Keyring, name: string, version: number): void {
  const { state, retired } = versionOf(keyOf(ring, name), name, version)
  const subject = `${name}@${version}`
  if (retired !== null) {
    throw new KvxError('STATE_TRANSITION', `${subject} is retired and cannot begin to seal`, {
      hint: `Take the mark back first: \`kvx key unretire ${subject}\`.`,
    })
  }
  if (state === 'pre-activation' || state === 'deactivated' || state === 'active') return
  throw new KvxError('STATE_TRANSITION', `${subject} is ${state} and cannot begin to seal`, {
    hint:
      state === 'suspended'
        ? `Take it back into use first: \`kvx key resume ${subject} --reason TEXT\`.`
        : `Leave it behind: \`kvx rotate ${name} --unstage\` where it is staged, then \`kvx rotate ${name}\`.`,
  })
}

/**
 * `version` seals from now on: it becomes active, and the version that sealed before opens only. The previous
 * slot of published places belongs to the latter.
 * @throws STATE_TRANSITION when it is suspended, compromised, destroyed or retired
 */
export function activate(ring: Keyring, name: string, version: number, reason: string): void {
  const key = keyOf(ring, name)
  if (key.seals === version) return
  requireActivatable(ring, name, version)
  const before = key.seals
  const next = versionOf(key, name, version)
  if (before !== null) {
    const sealed = versionOf(key, name, before)
    if (sealed.state === 'active') moveState(sealed, `${name}@${before}`, 'deactivated', reason)
  }
  if (next.state !== 'active') moveState(next, `${name}@${version}`, 'active', reason)
  key.seals = version
  key.previous = before
  key.staged = null
}

/** @throws PLAN_APPLIED for a plan file whose work was done */
export function refuseUsedPlan(ring: Keyring, by: { readonly digest: string } | undefined): void {
  if (by === undefined || ring.plans?.includes(by.digest) !== true) return
  throw planApplied('its work was done')
}

/** Notes that a plan file is used up, in the same change as its work. @throws PLAN_APPLIED */
export function usePlan(ring: Keyring, by: { readonly digest: string } | undefined): void {
  refuseUsedPlan(ring, by)
  if (by !== undefined) ring.plans = [...(ring.plans ?? []), by.digest]
}

export function planApplied(how: string): KvxError {
  return new KvxError('PLAN_APPLIED', `this plan was applied already: ${how}`, {
    hint: 'A plan is carried out once. Make a new one for what shall be done now, and have it approved.',
  })
}

/** Parses `NAME` or `NAME@VERSION`. */
export function parseSubject(text: string): { readonly name: string; readonly version: number | undefined } {
  const match = /^([A-Za-z0-9][A-Za-z0-9._-]{0,63})(?:@([1-9]\d{0,8}))?$/.exec(text)
  if (match?.[1] === undefined) {
    throw new KvxError('USAGE', 'a key is named NAME or NAME@VERSION', {
      hint: 'For example `master` or `master@1`; `kvx key list` shows what there is.',
    })
  }
  return { name: match[1], version: match[2] === undefined ? undefined : Number(match[2]) }
}

/** Parses `NAME@VERSION` where the version decides. @throws USAGE */
export function versionOfSubject(text: string): { readonly name: string; readonly version: number } {
  const { name, version } = parseSubject(text)
  if (version !== undefined) return { name, version }
  throw new KvxError('USAGE', `${name} has versions: say which one is meant`, {
    hint: `For example \`${name}@1\`; \`kvx key show ${name}\` lists them.`,
  })
}
