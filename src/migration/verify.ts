import { isBackedUp } from './gates.ts'
import { rememberPlaces } from './places.ts'
import { rememberVerified } from './verified.ts'
import { toChange } from './plan.ts'
import type { Census } from './census.ts'
import type { Events } from './events.ts'
import { nothingDeclared, type Session } from './session.ts'
import { keyOf, versionOf, versionsOf } from '../keyring/keyring.ts'

export type Verification = {
  readonly censuses: readonly Census[]
  /** The command that an operator most likely wants next. */
  readonly next: string | undefined
  readonly findings: { readonly message: string; readonly hint: string } | undefined
  readonly warnings: readonly { readonly code: string; readonly message: string }[]
}

/**
 * Opens every record of the session's envelopes, or the first `sample` of each, and writes nothing to them. After
 * a full look the home remembers where sealed things lie and what was counted, unless it is a dry run.
 */
export async function verifyEnvelopes(
  session: Session,
  options: { readonly events: Events; readonly sample: number | undefined; readonly dryRun: boolean },
): Promise<Verification> {
  const censuses: Census[] = []
  const warnings: { code: string; message: string }[] = []
  for (const workload of session.workloads) {
    const { sample } = options
    const limit = sample === undefined ? {} : { sample }
    censuses.push(await workload.census({ phase: 'verify', events: options.events, ...limit }))
    warnings.push(...(await workload.warnings()))
  }
  warnings.push(
    ...unlookedWarning(session),
    ...censuses.flatMap(foreignWarning),
    ...censuses.flatMap(nonceWarning),
    ...censuses.flatMap(innerWarning),
  )
  if (options.sample === undefined && !options.dryRun) {
    await rememberPlaces(session, censuses)
    await rememberVerified(session, censuses)
  }
  const findings = findingsOf(session, censuses)
  // What a finding says to do comes first.
  const next = findings === undefined ? await nextCommand(session, censuses) : undefined
  return { censuses, next, findings, warnings }
}

function foreignWarning({ envelope, foreignLabels }: Census): Verification['warnings'] {
  const count = [...foreignLabels.values()].reduce((sum, n) => sum + n, 0)
  if (count === 0) return []
  const message = `the version column of ${envelope} holds no number in ${count} records; no run changes them`
  return [{ code: 'VERSION_COLUMN', message }]
}

function nonceWarning({ envelope, repeatedNonces }: Census): Verification['warnings'] {
  if (repeatedNonces === 0) return []
  const message = `${repeatedNonces} values of ${envelope} have a nonce that another value under the same key has: what they hold can be worked out from one another. Let the application make random nonces, then rotate the key and re-encrypt`
  return [{ code: 'NONCE_REPEATED', message }]
}

function innerWarning({ envelope, sealedTwice }: Census): Verification['warnings'] {
  const versions = [...sealedTwice.keys()]
  if (versions.length === 0) return []
  const message = `values of ${envelope} hold values that are sealed again under version ${versions.join(', ')} of the same key: no run moves the inner ones, the application has to`
  return [{ code: 'SEALED_TWICE', message }]
}

function findingsOf(session: Session, censuses: readonly Census[]): Verification['findings'] {
  const unreadable = censuses.reduce((sum, census) => sum + census.unreadable, 0)
  if (unreadable > 0) {
    return {
      message: `${unreadable} ${unreadable === 1 ? 'record does' : 'records do'} not open`,
      hint: suspendedHint(session) ?? unreadableHint,
    }
  }
  for (const census of censuses) {
    const workload = session.workloads.find(({ name }) => name === census.envelope)
    if (workload === undefined) continue
    if (census.plaintext > 0 && !workload.plaintext) {
      return {
        message: `${census.plaintext} records of ${census.envelope} are not sealed`,
        hint: 'If plaintext belongs there, say so with `plaintext: true` in the envelope.',
      }
    }
    if (census.mislabelled > 0) {
      return {
        message: `${census.mislabelled} ${census.mislabelled === 1 ? 'record' : 'records'} of ${census.envelope} name another version of ${workload.key} than the one that opens them`,
        hint: `A reader that goes by the number cannot open them. Set it right: \`kvx ${workload.work} ${workload.name}\`.`,
      }
    }
    for (const version of census.byVersion.keys()) {
      if (versionOf(keyOf(session.ring, workload.key), workload.key, version).retired === null) continue
      return {
        message: `${census.envelope} has values under ${workload.key}@${version}, which is retired`,
        hint: `Take the mark back: \`kvx key unretire ${workload.key}@${version}\`, then move them.`,
      }
    }
  }
  return undefined
}

const unreadableHint =
  'Their reasons stand above. A layout that does not fit is corrected in kvx.yaml (docs/layouts.md); a missing older key is taken over with `kvx key import NAME --version N`.'

/** Nothing was opened, which must not look like a proof. */
function unlookedWarning({ workspace, workloads }: Session): Verification['warnings'] {
  if (workloads.length > 0) return []
  const { message, hint } = nothingDeclared(workspace.config)
  return [{ code: 'NOTHING_DECLARED', message: `${message}, so that nothing was opened. ${hint}` }]
}

/** A suspended version opens nothing, which looks like a missing key. */
function suspendedHint({ ring, workloads }: Session): string | undefined {
  for (const { key } of workloads) {
    const suspended = versionsOf(keyOf(ring, key)).find(([, { state }]) => state === 'suspended')
    if (suspended === undefined) continue
    const subject = `${key}@${suspended[0]}`
    return `${subject} is suspended and opens nothing. Take it back into use: \`kvx key resume ${subject} --reason TEXT\`.`
  }
  return undefined
}

/** First a backup of what seals, then the values that lag behind, then the version that nothing needs. */
async function nextCommand(session: Session, censuses: readonly Census[]): Promise<string | undefined> {
  for (const workload of session.workloads) {
    const { seals, previous } = keyOf(session.ring, workload.key)
    if (seals === null) continue
    if (!(await isBackedUp(session.workspace, session.ring, workload.key, seals))) {
      return `kvx backup create ${workload.key}`
    }
    const census = censuses.find(({ envelope }) => envelope === workload.name)
    if (census !== undefined && toChange(census, seals) > 0) return `kvx ${workload.work} ${workload.name}`
    if (previous !== null) return `kvx retire ${workload.key}@${previous}`
  }
  return undefined
}
