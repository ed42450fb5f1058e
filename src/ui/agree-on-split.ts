import { type Finding, machine, refuseStop } from '../ceremony/preflight.ts'
import { pgpWords } from '../core/pgp-words.ts'
import type { PlannedSplit } from '../keyring/split-key.ts'
import { findingLines } from './ceremony-view.ts'
import { type Answers, canAsk, confirmStep } from './prompts.ts'
import { custodianLines } from './share-view.ts'

/**
 * Before a key is divided: the machine is looked at, and whoever is here sees who will get what, and the nonce in
 * words, and agrees. Without a terminal only a STOP is told.
 * @throws KvxError UNSAFE_PROCESS for a STOP; NOT_CONFIRMED for a no
 */
export async function agreeOnSplit(
  planned: PlannedSplit,
  how: {
    readonly answers: Answers
    readonly requireOffline: boolean
    readonly requireNoSwap: boolean
    readonly again: string
  },
): Promise<void> {
  const withoutGpg = planned.custodians.every(({ recipient }) => recipient === undefined)
  const findings = await machine({ ...how, withoutGpg })
  if (canAsk(how.answers)) show(findings, planned)
  refuseStop(findings, how.again)
  const { threshold, of } = planned.plan
  const question = `Does everybody named above agree to this list, and to any ${threshold} of ${of}?`
  if (canAsk(how.answers)) await confirmStep(question, how.answers)
}

function show(findings: readonly Finding[], { subject, plan, custodians, ceremony }: PlannedSplit): void {
  const lines = [
    ...findingLines(findings),
    `ceremony ${ceremony.id}, nonce: ${pgpWords(ceremony.nonce).join(' ')}`,
    `${subject} is divided; any ${plan.threshold} of ${plan.of} shares rebuild it:`,
    ...custodianLines(custodians),
  ]
  process.stderr.write(`${lines.join('\n')}\n`)
}
