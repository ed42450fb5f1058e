import { versionOfSubject } from '../../src/keyring/keyring.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { planCommand, planFlags } from '../_program/plan-command.ts'
import {
  acceptedLoss,
  acceptedShrunk,
  acceptLossFlags,
  acceptShrunkFlags,
  dropPlaceFlags,
  droppedPlaces,
} from '../_program/run-flags.ts'

export default class PlanRetire extends KvxCommand {
  static override summary = 'Write down a retirement as a file that others approve.'
  static override description =
    'Looks at every declared place once and writes down what it found. What is accepted with a reason stands in the plan, so that approvers see it. The gate itself, with its two full scans, is in `kvx apply`.'
  static override examples = [
    { description: 'Write the plan', command: '<%= config.bin %> plan retire master@1 --out plan.json' },
    {
      description: 'Two records are lost anyway',
      command:
        '<%= config.bin %> plan retire master@1 --accept-loss 2 --reason "rows of a test tenant" --out plan.json',
    },
  ]
  static override args = { subject: argument({ description: 'NAME@VERSION', required: true }) }
  static override flags = { ...planFlags, ...acceptLossFlags, ...dropPlaceFlags, ...acceptShrunkFlags }

  async run(): Promise<void> {
    await this.finish('kvx.plan.retire/1', async () => {
      const { args, flags } = await this.parse(PlanRetire)
      return planCommand(
        {
          command: 'retire',
          ...versionOfSubject(args.subject),
          acceptLoss: acceptedLoss(flags) ?? null,
          drop: listed(droppedPlaces(flags)),
          acceptShrunk: listed(acceptedShrunk(flags)),
        },
        flags,
      )
    })
  }
}

function listed(
  one: { readonly names: readonly string[]; readonly reason: string } | undefined,
): { names: string[]; reason: string } | null {
  return one === undefined ? null : { ...one, names: [...one.names] }
}
