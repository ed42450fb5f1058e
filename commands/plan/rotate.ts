import * as Flags from '@oclif/core/flags'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { isSet, planCommand, planFlags } from '../_program/plan-command.ts'
import { gateFlags, onErrorFlag, withoutReason } from '../_program/run-flags.ts'

export default class PlanRotate extends KvxCommand {
  static override summary = 'Write down a rotation as a file that others approve.'
  static override description =
    'What is approved is the whole rotation: once `kvx apply` has begun it, `kvx rotate NAME --activate` and `kvx run resume` go on with it and need no second approval. No key is made before it is applied.'
  static override examples = [
    {
      description: 'With the application stopped, its data in the same run',
      command: '<%= config.bin %> plan rotate master --offline --then data --out plan.json',
    },
    {
      description: 'Readers get the new version in their second slot first',
      command: '<%= config.bin %> plan rotate master --stage --out plan.json',
    },
  ]
  static override args = { name: argument({ description: 'the key', required: true }) }
  static override flags = {
    ...planFlags,
    stage: Flags.boolean({
      description: 'publish the new version in the second slot and stop there',
      exclusive: ['offline'],
    }),
    offline: Flags.boolean({ description: 'the application is stopped: both slots at once' }),
    // oxlint-disable-next-line unicorn/no-thenable -- a flag's name in the contract; its value is text, never a function
    then: Flags.option({
      description: 'go on with the data: rewrap or re-encrypt as each envelope needs, then verify',
      options: ['data'] as const,
    })(),
    ...onErrorFlag,
    ...gateFlags,
  }

  async run(): Promise<void> {
    await this.finish('kvx.plan.rotate/1', async () => {
      const { args, flags } = await this.parse(PlanRotate)
      return planCommand(
        {
          command: 'rotate',
          name: args.name,
          offline: isSet(flags.offline),
          data: flags.then === 'data',
          stageOnly: isSet(flags.stage),
          onError: flags['on-error'],
          rolledOut: isSet(flags['rolled-out']),
          withoutBackup: withoutReason(flags) ?? null,
        },
        flags,
      )
    })
  }
}
