import { manyArguments } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import {
  planDataCommand,
  planDataDescription,
  planDataExamples,
  planDataFlags,
} from '../_program/plan-command.ts'

export default class PlanRewrap extends KvxCommand {
  static override summary = 'Write down a rewrap as a file that others approve.'
  static override description = planDataDescription('the rewrap')
  static override examples = planDataExamples('rewrap')
  static override strict = false
  static override args = {
    envelope: manyArguments({ description: 'envelopes; all that fit without a name', multiple: true }),
  }
  static override flags = planDataFlags

  async run(): Promise<void> {
    await this.finish('kvx.plan.rewrap/1', async () => {
      const { argv, flags } = await this.parse(PlanRewrap)
      return planDataCommand('rewrap', argv as string[], flags)
    })
  }
}
