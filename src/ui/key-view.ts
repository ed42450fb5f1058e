import { checkValueOf } from '../core/fingerprint.ts'
import type { KeyRecord, Keyring, VersionRecord } from '../keyring/keyring-file.ts'
import { versionsOf } from '../keyring/keyring.ts'
import { columns } from './columns.ts'

/** What `--json` tells of a version: everything but bytes. */
export function versionData(version: number, record: VersionRecord): object {
  const { state, fingerprint, bytes, origin, created, rollout, retired, withoutBackup, history } = record
  return {
    version,
    state,
    fingerprint,
    checkValue: fingerprint === null ? null : checkValueOf(fingerprint),
    bytes,
    origin,
    created,
    rollout,
    retired,
    withoutBackup,
    history,
  }
}

export function keyData(name: string, key: KeyRecord): object {
  return {
    name,
    purpose: key.purpose,
    seals: key.seals,
    previous: key.previous,
    staged: key.staged,
    versions: versionsOf(key).map(([version, record]) => versionData(version, record)),
  }
}

function role(key: KeyRecord, version: number, record: VersionRecord): string {
  if (record.retired !== null) return 'retired'
  if (key.seals === version) return 'seals'
  if (key.staged === version) return 'staged'
  return key.previous === version ? 'opens (previous slot)' : ''
}

function rows(name: string, key: KeyRecord): readonly string[][] {
  return versionsOf(key).map(([version, record]) => [
    `${name}@${version}`,
    key.purpose,
    record.state,
    role(key, version, record),
    record.fingerprint === null ? 'no material yet' : checkValueOf(record.fingerprint),
    record.created.slice(0, 10),
  ])
}

export function keyTable(ring: Keyring): readonly string[] {
  const all = Object.entries(ring.keys).flatMap(([name, key]) => rows(name, key))
  if (all.length === 0) {
    return [
      'no keys yet',
      'Next: kvx key import NAME for a key that an application has, kvx keygen NAME for a new one',
    ]
  }
  return columns([['key', 'purpose', 'state', '', 'check value', 'since'], ...all])
}

export function keyLines(name: string, key: KeyRecord): readonly string[] {
  const history = versionsOf(key).flatMap(([version, record]) =>
    record.history.map((step) => [
      `${name}@${version}`,
      step.at,
      `${step.from} → ${step.to}`,
      step.actor,
      step.reason,
    ]),
  )
  const open = versionsOf(key).filter(([, { withoutBackup }]) => withoutBackup !== null)
  return [
    ...columns(rows(name, key)),
    ...(history.length === 0 ? [] : ['', ...columns(history)]),
    ...open.map(
      ([version, { withoutBackup }]) => `${name}@${version} has no backup: ${withoutBackup?.reason ?? ''}`,
    ),
  ]
}
