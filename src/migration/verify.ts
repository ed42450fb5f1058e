import { isBackedUp } from './gates.ts'
import type { Census } from './census.ts'
import { workOf } from './plan.ts'
import type { Events } from './events.ts'
import { takeCensus } from './scan.ts'
import type { Session } from './session.ts'
import { keyOf, versionOf } from '../keyring/keyring.ts'

export type Verification = {
  readonly censuses: readonly Census[]
  /** The command that an operator most likely wants next. */
  readonly next: string | undefined
  readonly findings: { readonly message: string; readonly hint: string } | undefined
  readonly warnings: readonly { readonly code: string; readonly message: string }[]
}

/** Opens every record of the session's envelopes, or the first `sample` of each, and writes nothing. */
export async function verifyEnvelopes(
  session: Session,
  options: { readonly events: Events; readonly sample: number | undefined },
): Promise<Verification> {
  const censuses: Census[] = []
  const warnings: { code: string; message: string }[] = []
  for (const envelope of session.envelopes) {
    const { sample } = options
    censuses.push(
      await takeCensus(session, envelope, {
        phase: 'verify',
        events: options.events,
        ...(sample === undefined ? {} : { sample }),
      }),
    )
    const facts = await session.store(envelope).inspect(envelope.set)
    warnings.push(...facts.warnings)
  }
  return {
    censuses,
    next: await nextCommand(session, censuses),
    findings: findingsOf(session, censuses),
    warnings,
  }
}

function findingsOf(session: Session, censuses: readonly Census[]): Verification['findings'] {
  const unreadable = censuses.reduce((sum, census) => sum + census.unreadable, 0)
  if (unreadable > 0) {
    return {
      message: `${unreadable} ${unreadable === 1 ? 'record does' : 'records do'} not open`,
      hint: 'Their reasons stand above. A missing older key is taken over with `kvx key import NAME --version N`.',
    }
  }
  for (const census of censuses) {
    const envelope = session.envelopes.find(({ name }) => name === census.envelope)
    if (envelope === undefined) continue
    if (census.plaintext > 0 && !envelope.plaintext) {
      return {
        message: `${census.plaintext} records of ${census.envelope} are not sealed`,
        hint: 'If plaintext belongs there, say so with `plaintext: true` in the envelope.',
      }
    }
    for (const version of census.byVersion.keys()) {
      if (versionOf(keyOf(session.ring, envelope.key), envelope.key, version).retired === null) continue
      return {
        message: `${census.envelope} has values under ${envelope.key}@${version}, which is retired`,
        hint: `Take the mark back: \`kvx key unretire ${envelope.key}@${version}\`, then move them.`,
      }
    }
  }
  return undefined
}

/** First a backup of what seals, then the values that lag behind, then the version that nothing needs. */
async function nextCommand(session: Session, censuses: readonly Census[]): Promise<string | undefined> {
  for (const envelope of session.envelopes) {
    const { seals, previous } = keyOf(session.ring, envelope.key)
    if (seals === null) continue
    if (!(await isBackedUp(session.workspace, session.ring, envelope.key, seals))) {
      return `kvx backup create ${envelope.key}`
    }
    const census = censuses.find(({ envelope: name }) => name === envelope.name)
    const behind = [...(census?.byVersion.keys() ?? [])].some((version) => version !== seals)
    if (behind) return `kvx ${workOf(envelope)} ${envelope.name}`
    if (previous !== null) return `kvx retire ${envelope.key}@${previous}`
  }
  return undefined
}
