import { sealCanary } from '../core/canary.ts'
import { KvxError } from '../core/errors.ts'
import { checkValueOf, fingerprintOf } from '../core/fingerprint.ts'
import type { Secret } from '../core/secret.ts'
import { currentActor } from '../platform/actor.ts'
import { isoNow } from '../platform/clock.ts'
import { randomBytes } from '../platform/random.ts'
import { changeKeyring, moveState, readKeyring, reservedVersion, versionOf, versionsOf } from './keyring.ts'
import type { KeyRecord, Keyring, Rollout, VersionRecord } from './keyring-file.ts'
import { hasMaterial, readMaterial, removeUnfinishedMaterial, writeMaterial } from './material.ts'
import type { Workspace } from './workspace.ts'

export type Registration = {
  readonly name: string
  readonly purpose: KeyRecord['purpose']
  readonly version: number
  readonly material: Secret
  readonly origin: VersionRecord['origin']
  /** `active` takes over sealing; `deactivated` opens what was sealed before. */
  readonly state: 'active' | 'deactivated'
  readonly rollout: Rollout['how']
  /** It lies in the previous slot of published places. An older key from elsewhere is published nowhere. */
  readonly previousSlot?: boolean
  readonly reason: string
}

export type Registered = {
  readonly version: number
  readonly fingerprint: string
  /** False when the keyring had this very key already. */
  readonly changed: boolean
}

/**
 * Puts a key that exists into the ring: number reserved, material durable, fingerprint and canary recorded, then
 * its state. Each step may be repeated after a crash; the same bytes again change nothing.
 * @throws KEY_EXISTS when the number belongs to another key, KEY_REUSED when another version has these bytes
 */
export async function registerVersion(workspace: Workspace, registration: Registration): Promise<Registered> {
  const { home } = workspace
  const { name, version, material } = registration
  const fingerprint = fingerprintOf(material)
  refuseCollision(await readKeyring(home), registration, fingerprint)
  const key = (await readKeyring(home)).keys[name]
  const known = key?.versions[String(version)]
  // A rebuilt keyring may know the key and not that it seals, and a key file may be lost: both are mended.
  const isWhole = key?.seals !== null || registration.state !== 'active'
  if (known?.fingerprint === fingerprint && known.canary !== null && known.state !== 'pre-activation') {
    if (isWhole && (await hasMaterial(home, name, version))) return { version, fingerprint, changed: false }
    if (!isWhole) refuseStopped(known, `${name}@${version}`)
  }
  await changeKeyring(home, (ring) => {
    refuseCollision(ring, registration, fingerprint)
    const key = (ring.keys[name] ??= newKey(registration.purpose))
    key.versions[String(version)] ??= reservedVersion(registration.origin, null)
    key.next = Math.max(key.next, version + 1)
  })
  await placeMaterial(workspace, registration, fingerprint)
  const canary = sealCanary(material, `${name}@${version}`, randomBytes(12))
  await changeKeyring(home, (ring) => {
    const key = ring.keys[name] ?? newKey(registration.purpose)
    const record = versionOf(key, name, version)
    record.fingerprint = fingerprint
    record.bytes = material.length
    record.canary = canary
    record.rollout ??= { how: registration.rollout, at: isoNow(), actor: currentActor() }
    settleState(key, registration, record)
  })
  return { version, fingerprint, changed: true }
}

function newKey(purpose: KeyRecord['purpose']): KeyRecord {
  return { purpose, next: 1, seals: null, previous: null, staged: null, versions: {} }
}

/** A version that somebody stopped does not begin to seal by being imported again. */
function refuseStopped({ state, retired }: VersionRecord, subject: string): void {
  if (retired === null && (state === 'active' || state === 'deactivated')) return
  const what = retired === null ? state : 'retired'
  throw new KvxError('STATE_TRANSITION', `${subject} is ${what} and cannot begin to seal`, {
    hint: `\`kvx key show ${subject.split('@')[0] ?? ''}\` tells its life. Nothing was changed.`,
  })
}

function settleState(key: KeyRecord, registration: Registration, record: VersionRecord): void {
  const { name, version, reason } = registration
  if (record.state === 'pre-activation') moveState(record, `${name}@${version}`, 'active', reason)
  if (registration.state === 'active') {
    if (key.seals === null && record.state === 'deactivated')
      moveState(record, `${name}@${version}`, 'active', reason)
    key.seals = version
    return
  }
  if (record.state === 'active' && key.seals !== version)
    moveState(record, `${name}@${version}`, 'deactivated', reason)
  if (registration.previousSlot === true) key.previous = version
}

export function refuseCollision(
  ring: Keyring,
  registration: Pick<Registration, 'name' | 'version' | 'state'>,
  fingerprint: string,
): void {
  const { name, version } = registration
  for (const [other, key] of Object.entries(ring.keys)) {
    for (const [number, record] of versionsOf(key)) {
      const own = other === name && number === version
      if (!own && record.fingerprint === fingerprint) {
        throw new KvxError(
          'KEY_REUSED',
          `this key is ${other}@${number} already (check value ${checkValueOf(fingerprint)})`,
          {
            hint: 'One key has one name and one number. Nothing was changed.',
          },
        )
      }
      if (own && record.fingerprint !== null && record.fingerprint !== fingerprint) {
        throw new KvxError(
          'KEY_EXISTS',
          `${name}@${version} is another key (check value ${checkValueOf(record.fingerprint)})`,
          {
            hint: `Give this one its own number with \`--version N\`; \`kvx key show ${name}\` lists those in use. Nothing was changed.`,
          },
        )
      }
    }
  }
  const key = ring.keys[name]
  if (registration.state === 'active' && key?.seals != null && key.seals !== version) {
    throw new KvxError('KEY_EXISTS', `${name}@${key.seals} seals already`, {
      hint: `To change the key: \`kvx rotate ${name}\`. An older key of the application is taken over with its own \`--version N\`.`,
    })
  }
}

/** A file that a crash left without a record was never used: it is adopted when it is this key. */
async function placeMaterial(
  workspace: Workspace,
  registration: Registration,
  fingerprint: string,
): Promise<void> {
  const { home } = workspace
  const { name, version, material } = registration
  if (!(await hasMaterial(home, name, version))) {
    await writeMaterial(home, name, version, material)
    return
  }
  // A process that died right after it placed the file left its first name too: a second one of the same key.
  await removeUnfinishedMaterial(home, name, version)
  const found = await readMaterial(home, name, version)
  const same = fingerprintOf(found) === fingerprint
  found.wipe()
  if (same) return
  throw new KvxError('KEY_EXISTS', `the home has a key file for ${name}@${version} that holds another key`, {
    hint: `It has no record. Look at it with \`kvx inspect\`; move it away if it is not needed: keys/${name}.v${version}.key`,
  })
}
