import { manyArguments } from './_program/arguments.ts'
import { dataRunFlags, newDeksFlags, runDataCommand } from './_program/data-command.ts'
import { KvxCommand } from './_program/kvx-command.ts'

export default class Reencrypt extends KvxCommand {
  static override summary = 'Move values that lie directly under a key to the version that seals.'
  static override description =
    'For envelopes without DEKs, the way to change the key means sealing every value again. With `--new-deks`, values under DEKs move to new ones. Works as rewrap does: planned, backed up, compare-and-swap, read back, resumable.'
  static override examples = [
    { description: 'See the plan and change nothing', command: '<%= config.bin %> reencrypt --dry-run' },
    {
      description: 'Everything of one envelope, after its readers were restarted',
      command: '<%= config.bin %> reencrypt app.secrets --rolled-out',
    },
    {
      description: 'New DEKs: an old one leaked, or has sealed long enough',
      command: '<%= config.bin %> reencrypt app.secrets --new-deks',
    },
    { description: 'Beside a busy application', command: '<%= config.bin %> reencrypt --rate auto --yes' },
  ]
  static override strict = false
  static override args = {
    envelope: manyArguments({ description: 'envelopes; all that fit without a name', multiple: true }),
  }
  static override flags = { ...dataRunFlags, ...newDeksFlags }

  async run(): Promise<void> {
    await this.finish('kvx.reencrypt/1', async () => {
      const { argv, flags } = await this.parse(Reencrypt)
      return runDataCommand('reencrypt', argv as string[], flags)
    })
  }
}
