import { manyArguments } from '../_program/arguments.ts'
import { newDeksFlags } from '../_program/data-command.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import {
  planDataCommand,
  planDataDescription,
  planDataExamples,
  planDataFlags,
} from '../_program/plan-command.ts'

export default class PlanReencrypt extends KvxCommand {
  static override summary = 'Write down a re-encryption as a file that others approve.'
  static override description = planDataDescription('the re-encryption')
  static override examples = planDataExamples('reencrypt')
  static override strict = false
  static override args = {
    envelope: manyArguments({ description: 'envelopes; all that fit without a name', multiple: true }),
  }
  static override flags = { ...planDataFlags, ...newDeksFlags }

  async run(): Promise<void> {
    await this.finish('kvx.plan.reencrypt/1', async () => {
      const { argv, flags } = await this.parse(PlanReencrypt)
      return planDataCommand('reencrypt', argv as string[], flags)
    })
  }
}
