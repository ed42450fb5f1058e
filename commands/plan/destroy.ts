import * as Flags from '@oclif/core/flags'
import { versionOfSubject } from '../../src/keyring/keyring.ts'
import { argument } from '../_program/arguments.ts'
import { requireWaitingTime } from '../_program/destroy-flags.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { planCommand, planFlags } from '../_program/plan-command.ts'
import { acceptedLoss, acceptLossFlags, dropPlaceFlags, droppedPlaces } from '../_program/run-flags.ts'

export default class PlanDestroy extends KvxCommand {
  static override summary = 'Write down the end of a version’s material as a file that others approve.'
  static override description =
    'Approved is the waiting time that begins; when it is over, `kvx destroy --due` carries it out without a second approval. A schedule that was not approved, or a loss that is accepted at its end, is planned with --due.'
  static override examples = [
    {
      description: 'In a week',
      command: '<%= config.bin %> plan destroy master@1 --after 7d --out plan.json',
    },
    {
      description: 'Carry out what waits, with a loss',
      command:
        '<%= config.bin %> plan destroy master@1 --due --accept-loss 2 --reason "rows of a test tenant" --out plan.json',
    },
  ]
  static override args = { subject: argument({ description: 'NAME@VERSION', required: true }) }
  static override flags = {
    ...planFlags,
    after: Flags.string({
      description: 'the waiting time, e.g. 12h or 7d',
      default: '7d',
      helpValue: 'TIME',
    }),
    due: Flags.boolean({ description: 'carry out what was scheduled before and is due' }),
    ...acceptLossFlags,
    ...dropPlaceFlags,
  }

  async run(): Promise<void> {
    await this.finish('kvx.plan.destroy/1', async () => {
      const { args, flags } = await this.parse(PlanDestroy)
      if (!flags.due) requireWaitingTime(flags.after)
      const drop = droppedPlaces(flags)
      return planCommand(
        {
          command: 'destroy',
          ...versionOfSubject(args.subject),
          after: flags.due ? null : flags.after,
          acceptLoss: acceptedLoss(flags) ?? null,
          drop: drop === undefined ? null : { ...drop, names: [...drop.names] },
        },
        flags,
      )
    })
  }
}
