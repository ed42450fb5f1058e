import { CLIError } from '@oclif/core/errors'
import * as Flags from '@oclif/core/flags'
import { looksLikeKey } from '../../src/audit/entry-guard.ts'
import { KvxError } from '../../src/core/errors.ts'
import { giveWay, isGivingWay } from '../../src/migration/giving-way.ts'
import type { Rate } from '../../src/migration/workload.ts'
import { onSignals } from '../../src/platform/interrupt.ts'
import { giveProcessorsAway } from '../../src/platform/priority.ts'
import { useThreads } from '../../src/platform/threads.ts'
import { progressReporter, type ProgressForm } from '../../src/ui/progress.ts'
import type { Answers } from '../../src/ui/prompts.ts'

/** Flags of commands that work for long. */
export const progressFlags = {
  progress: Flags.option({
    description: 'how progress is told on standard error',
    options: ['human', 'json', 'none'] as const,
    default: 'human' as const,
    helpGroup: 'RUN',
  })(),
}

/** Flags of commands that open every value. */
export const workFlags = {
  ...progressFlags,
  rate: Flags.option({
    description:
      'give way to an application that works beside it: rest the longer, the slower its database answers',
    options: ['auto'] as const,
    helpGroup: 'RUN',
  })(),
  workers: Flags.integer({
    description:
      'threads that open and seal values beside the one that reads and writes them, 0 for none; else, for much work on four processors or more, one less than those, 8 at most',
    min: 0,
    max: 64,
    helpValue: 'N',
    helpGroup: 'RUN',
  }),
}

const rateFlag = Flags.custom<Rate>({
  parse: async (text) => {
    if (text === 'auto') return text
    const rate = Number(text)
    if (/^[0-9]+$/.test(text) && Number.isSafeInteger(rate) && rate >= 1) return rate
    // In the words of the parser's own numbers, which `toKvxError` knows.
    throw new CLIError('Expected an integer greater than or equal to 1 or auto but received something else')
  },
})

export const throttleFlags = {
  ...workFlags,
  batch: Flags.integer({
    helpValue: 'N',
    description:
      'records that are written and read back in one transaction; else 500, or in a database as many as take about 0.2 s',
    min: 1,
    max: 10_000,
    helpGroup: 'RUN',
  }),
  rate: rateFlag({
    description:
      'for an application that works beside it: `auto` gives way, resting the longer the slower its database answers; a number is records a second at most',
    helpValue: 'auto|N',
    helpGroup: 'RUN',
  }),
}

export const onErrorFlag = {
  'on-error': Flags.option({
    description: 'a record that does not open stops everything before the first write, or is set aside',
    options: ['stop', 'quarantine'] as const,
    default: 'stop' as const,
    helpGroup: 'RUN',
  })(),
}

export const gateFlags = {
  'rolled-out': Flags.boolean({
    description: 'declare that every reader has the version that seals; recorded with your name',
    helpGroup: 'GATES',
  }),
  'without-backup': Flags.boolean({
    description: 'use a key that has no tested backup; needs --reason, shown until mended',
    dependsOn: ['reason'],
    helpGroup: 'GATES',
  }),
  reason: Flags.string({ description: 'why; recorded and signed', helpValue: 'TEXT', helpGroup: 'GATES' }),
}

export const acceptLossFlags = {
  'accept-loss': Flags.integer({
    description: 'so many records that cannot be saved, recorded with --reason',
    min: 1,
    helpValue: 'COUNT',
    dependsOn: ['reason'],
    helpGroup: 'GATES',
  }),
  reason: Flags.string({ description: 'why; recorded and signed', helpValue: 'TEXT', helpGroup: 'GATES' }),
}

export const dropPlaceFlags = {
  'drop-place': Flags.string({
    description: 'an envelope or vault that had values and is gone for good; recorded with --reason',
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'NAME',
    dependsOn: ['reason'],
    helpGroup: 'GATES',
  }),
}

export const acceptShrunkFlags = {
  'accept-shrunk': Flags.string({
    description: 'an envelope that lost over a half of its values on purpose; recorded with --reason',
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'NAME',
    dependsOn: ['reason'],
    helpGroup: 'GATES',
  }),
}

type GateFlags = { readonly 'without-backup'?: boolean; readonly reason?: string | undefined }

/** The recorded reason to go without a backup, if the operator gave one. */
export function withoutReason(flags: GateFlags): string | undefined {
  return flags['without-backup'] === true ? checkedReason(flags.reason) : undefined
}

export function acceptedLoss(flags: {
  readonly 'accept-loss'?: number | undefined
  readonly reason?: string | undefined
}): { readonly count: number; readonly reason: string } | undefined {
  const count = flags['accept-loss']
  return count === undefined ? undefined : { count, reason: checkedReason(flags.reason) }
}

export function droppedPlaces(flags: {
  readonly 'drop-place'?: readonly string[] | undefined
  readonly reason?: string | undefined
}): { readonly names: readonly string[]; readonly reason: string } | undefined {
  const names = flags['drop-place']
  return names === undefined ? undefined : { names, reason: checkedReason(flags.reason) }
}

export function acceptedShrunk(flags: {
  readonly 'accept-shrunk'?: readonly string[] | undefined
  readonly reason?: string | undefined
}): { readonly names: readonly string[]; readonly reason: string } | undefined {
  const names = flags['accept-shrunk']
  return names === undefined ? undefined : { names, reason: checkedReason(flags.reason) }
}

/** @throws USAGE for what is not one line */
export function checkedReason(reason: string | undefined): string {
  if (reason !== undefined && looksLikeKey(reason)) {
    throw new KvxError(
      'USAGE',
      'the reason holds what looks like a 32-byte key, and it would be recorded for ever',
      {
        hint: 'Say it in words, or shorten a digest to its first digits. If it is a key, replace that key: your shell has it in its history. Nothing was changed.',
      },
    )
  }
  if (reason !== undefined && /^[\x20-\x7e\u00a1-\uffff]{1,200}$/.test(reason)) return reason
  throw new KvxError('USAGE', 'a reason is one line of up to 200 characters', {
    hint: 'For example `--reason "test system"`.',
  })
}

export function answersOf(flags: {
  readonly yes?: boolean
  readonly confirm?: string | undefined
  readonly 'no-input'?: boolean
}): Answers {
  return { yes: flags.yes === true, confirm: flags.confirm, noInput: flags['no-input'] === true }
}

/** Listens for signals and shows progress while the work goes on. */
export async function withProgress<T>(
  flags: {
    readonly progress: ProgressForm
    readonly quiet?: boolean
    readonly workers?: number | undefined
    readonly rate?: Rate | undefined
  },
  work: (events: ReturnType<typeof progressReporter>) => Promise<T>,
): Promise<T> {
  onSignals()
  const isGentle = flags.rate === 'auto'
  useThreads(isGentle ? (flags.workers ?? 0) : flags.workers)
  giveWay(isGentle)
  if (isGentle) giveProcessorsAway()
  const events = progressReporter(flags.quiet === true ? 'none' : flags.progress, isGivingWay)
  try {
    return await work(events)
  } finally {
    events.end()
  }
}
