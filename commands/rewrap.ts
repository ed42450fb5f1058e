import { manyArguments } from './_program/arguments.ts'
import { dataRunFlags, runDataCommand } from './_program/data-command.ts'
import { KvxCommand } from './_program/kvx-command.ts'

export default class Rewrap extends KvxCommand {
  static override summary = 'Move wrapped DEKs to the version of their key that seals; data is untouched.'
  static override description =
    'Opens everything once, backs up the old bytes batch by batch, writes by compare-and-swap, reads back and proves each record, and sweeps until a full look finds nothing under another version. Can be killed at any instant: `kvx run resume` goes on.'
  static override examples = [
    { description: 'See the plan and change nothing', command: '<%= config.bin %> rewrap --dry-run' },
    {
      description: 'Everything of one envelope, after its readers were restarted',
      command: '<%= config.bin %> rewrap app.secrets --rolled-out',
    },
    { description: 'Beside a busy application', command: '<%= config.bin %> rewrap --rate auto --yes' },
  ]
  static override strict = false
  static override args = {
    envelope: manyArguments({ description: 'envelopes; all that fit without a name', multiple: true }),
  }
  static override flags = dataRunFlags

  async run(): Promise<void> {
    await this.finish('kvx.rewrap/1', async () => {
      const { argv, flags } = await this.parse(Rewrap)
      return runDataCommand('rewrap', argv as string[], flags)
    })
  }
}
