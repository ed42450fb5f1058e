import { manyArguments } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { isSet, planCommand, planFlags } from '../_program/plan-command.ts'
import { gateFlags, onErrorFlag, withoutReason } from '../_program/run-flags.ts'

export default class PlanRewrap extends KvxCommand {
  static override summary = 'Write down a rewrap as a file that others approve.'
  static override description =
    'Opens everything that the rewrap would touch, once, and writes down what it found: counts, fingerprints and states of keys, the digest of kvx.yaml, the home, an end of its time. No secrets. Others approve the file, and `kvx apply` does exactly this or refuses.'
  static override examples = [
    {
      description: 'Write the plan',
      command: '<%= config.bin %> plan rewrap app.secrets --out plan.json',
    },
    {
      description: 'Beside an application that goes on, for two days',
      command: '<%= config.bin %> plan rewrap app.secrets --tolerance 500 --expires 2d --out plan.json',
    },
  ]
  static override strict = false
  static override args = {
    envelope: manyArguments({ description: 'envelopes; all that fit without a name', multiple: true }),
  }
  static override flags = { ...planFlags, ...onErrorFlag, ...gateFlags }

  async run(): Promise<void> {
    await this.finish('kvx.plan.rewrap/1', async () => {
      const { argv, flags } = await this.parse(PlanRewrap)
      return planCommand(
        {
          command: 'rewrap',
          names: argv as string[],
          newDeks: false,
          offline: false,
          onError: flags['on-error'],
          rolledOut: isSet(flags['rolled-out']),
          withoutBackup: withoutReason(flags) ?? null,
        },
        flags,
      )
    })
  }
}
