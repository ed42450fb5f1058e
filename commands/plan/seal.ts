import { manyArguments } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import {
  planDataCommand,
  planDataDescription,
  planDataExamples,
  planDataFlags,
} from '../_program/plan-command.ts'

export default class PlanSeal extends KvxCommand {
  static override summary = 'Write down a first sealing of plaintext as a file that others approve.'
  static override description = planDataDescription('the sealing')
  static override examples = planDataExamples('seal')
  static override strict = false
  static override args = {
    envelope: manyArguments({ description: 'envelopes; all that fit without a name', multiple: true }),
  }
  static override flags = planDataFlags

  async run(): Promise<void> {
    await this.finish('kvx.plan.seal/1', async () => {
      const { argv, flags } = await this.parse(PlanSeal)
      return planDataCommand('seal', argv as string[], flags)
    })
  }
}
