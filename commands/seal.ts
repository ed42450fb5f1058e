import { manyArguments } from './_program/arguments.ts'
import { dataRunFlags, runDataCommand } from './_program/data-command.ts'
import { KvxCommand } from './_program/kvx-command.ts'

export default class Seal extends KvxCommand {
  static override summary = 'Seal plaintext that lies in declared places for the first time.'
  static override description =
    'For envelopes that say `plaintext: true`: every declared value that is not sealed is sealed under the version that seals, or under the DEK of its record, which is made where there is none. The old values are kept in the run’s backup, sealed themselves. Works as rewrap does: planned, compare-and-swap, read back, resumable.'
  static override examples = [
    { description: 'See what would be sealed', command: '<%= config.bin %> seal --dry-run' },
    {
      description: 'One envelope, whose application reads both forms',
      command: '<%= config.bin %> seal app.secrets --rolled-out',
    },
  ]
  static override strict = false
  static override args = {
    envelope: manyArguments({ description: 'envelopes; all of a key without a name', multiple: true }),
  }
  static override flags = dataRunFlags

  async run(): Promise<void> {
    await this.finish('kvx.seal/1', async () => {
      const { argv, flags } = await this.parse(Seal)
      return runDataCommand('seal', argv as string[], flags)
    })
  }
}
