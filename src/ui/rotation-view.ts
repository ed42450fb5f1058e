import type { KeyRecord } from '../keyring/keyring-file.ts'
import { labelOf } from '../config/publishers.ts'
import type { PublishedPlace } from '../keyring/publish/publish.ts'
import { readKeyring } from '../keyring/keyring.ts'
import type { Workspace } from '../keyring/workspace.ts'
import type { DataResult } from '../migration/data-run.ts'
import type { RunRow } from '../migration/journal.ts'
import { checkValueOf } from '../core/fingerprint.ts'
import { isBackedUp } from '../migration/gates.ts'
import { envelopeData, resultLines } from './run-view.ts'

export type RotationOutcome = {
  readonly run: RunRow | undefined
  readonly reached: 'staged' | 'active' | 'planned' | 'unstaged'
  readonly places: readonly PublishedPlace[]
  readonly data: DataResult | undefined
}

function version(key: KeyRecord | undefined, number: number | null | undefined): object | null {
  const record = number == null ? undefined : key?.versions[String(number)]
  if (record === undefined) return null
  return { version: number, fingerprint: record.fingerprint, state: record.state }
}

/** `data` of `kvx.rotate/1`. */
export async function rotationData(
  workspace: Workspace,
  name: string,
  outcome: RotationOutcome,
): Promise<object> {
  const ring = await readKeyring(workspace.home)
  const key = ring.keys[name]
  const to = outcome.run?.toVersion
  const done = to !== undefined && key?.versions[String(to)] !== undefined
  return {
    name,
    reached: outcome.reached,
    from: version(key, outcome.run?.fromVersion ?? key?.seals),
    to: version(key, to),
    published: workspace.config.keys[name]?.publish.map(labelOf) ?? [],
    backup: { proven: done ? await isBackedUp(workspace, ring, name, to) : false },
    envelopes: outcome.data === undefined ? [] : envelopeData(outcome.data.applied),
    report: outcome.data?.report ?? null,
  }
}

export async function rotationLines(
  workspace: Workspace,
  name: string,
  outcome: RotationOutcome,
): Promise<readonly string[]> {
  const { run, reached } = outcome
  if (run === undefined) return []
  const key = (await readKeyring(workspace.home)).keys[name]
  const fingerprint = key?.versions[String(run.toVersion)]?.fingerprint
  const subject = `${name}@${run.toVersion}${fingerprint == null ? '' : ` (check value ${checkValueOf(fingerprint)})`}`
  if (reached === 'unstaged')
    return [`${subject} was taken back; ${name}@${run.fromVersion ?? '-'} seals as before`]
  if (reached === 'staged') {
    return [
      `${subject} is staged: readers get it in their second slot, nothing is sealed with it yet`,
      `Next: restart every reader, then kvx rotate ${name} --activate --rolled-out`,
    ]
  }
  const lines = [`${subject} seals; ${name}@${run.fromVersion ?? '-'} opens only`]
  if (outcome.data !== undefined)
    return [...lines, ...resultLines(outcome.data), nextAfterData(name, outcome.data)]
  return [...lines, 'Next: kvx verify, then kvx rewrap or kvx reencrypt']
}

function nextAfterData(name: string, data: DataResult): string {
  return data.failure === undefined
    ? `Next: kvx retire ${name}@${data.run.fromVersion ?? 1}`
    : `Next: kvx run show ${data.run.id}`
}
