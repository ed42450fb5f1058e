import { manyArguments } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { isSet, planCommand, planFlags } from '../_program/plan-command.ts'
import { gateFlags, onErrorFlag, withoutReason } from '../_program/run-flags.ts'
import { newDeksFlags } from '../_program/data-command.ts'

export default class PlanReencrypt extends KvxCommand {
  static override summary = 'Write down a re-encryption as a file that others approve.'
  static override description =
    'Opens everything that the re-encryption would touch, once, and writes down what it found: counts, fingerprints and states of keys, the digest of kvx.yaml, the home, an end of its time. No secrets. Others approve the file, and `kvx apply` does exactly this or refuses.'
  static override examples = [
    {
      description: 'Write the plan',
      command: '<%= config.bin %> plan reencrypt app.secrets --out plan.json',
    },
    {
      description: 'Beside an application that goes on, for two days',
      command: '<%= config.bin %> plan reencrypt app.secrets --tolerance 500 --expires 2d --out plan.json',
    },
  ]
  static override strict = false
  static override args = {
    envelope: manyArguments({ description: 'envelopes; all that fit without a name', multiple: true }),
  }
  static override flags = { ...planFlags, ...onErrorFlag, ...gateFlags, ...newDeksFlags }

  async run(): Promise<void> {
    await this.finish('kvx.plan.reencrypt/1', async () => {
      const { argv, flags } = await this.parse(PlanReencrypt)
      return planCommand(
        {
          command: 'reencrypt',
          names: argv as string[],
          newDeks: isSet(flags['new-deks']),
          offline: isSet(flags.offline),
          onError: flags['on-error'],
          rolledOut: isSet(flags['rolled-out']),
          withoutBackup: withoutReason(flags) ?? null,
        },
        flags,
      )
    })
  }
}
