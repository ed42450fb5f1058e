import * as Flags from '@oclif/core/flags'
import { preflight, stopped } from '../../src/ceremony/preflight.ts'
import { configIfThere } from '../../src/keyring/site-values.ts'
import { findingLines } from '../../src/ui/ceremony-view.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class CeremonyPreflight extends KvxCommand {
  static override summary =
    'Is this machine fit for handling keys in the open? Each line is OK, WARN or STOP.'
  static override description =
    'Looks at the terminal, what records it, core dumps, swap, network, clock, gpg, the OpenPGP keys of recipients and custodians, the print spooler, the working folder and the program itself. Changes nothing. Ends in 6 when a line says STOP.'
  static override examples = [
    { description: 'Before shares are dealt', command: '<%= config.bin %> ceremony preflight' },
    {
      description: 'On the machine of a key ceremony',
      command: '<%= config.bin %> ceremony preflight --require-offline --require-no-swap',
    },
  ]
  static override flags = {
    key: Flags.string({ description: 'look at the people of this key alone', helpValue: 'NAME' }),
    'require-offline': Flags.boolean({ description: 'STOP when an interface has a carrier' }),
    'require-no-swap': Flags.boolean({ description: 'STOP when memory can reach an unencrypted swap area' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.ceremony.preflight/1', async () => {
      const { flags } = await this.parse(CeremonyPreflight)
      const findings = await preflight({
        config: await configIfThere(flags),
        key: flags.key,
        requireOffline: flags['require-offline'],
        requireNoSwap: flags['require-no-swap'],
      })
      const first = findings.find(({ state }) => state === 'stop')
      return {
        data: { findings },
        lines: findingLines(findings),
        ...(first === undefined ? {} : { failure: stopped(first, 'kvx ceremony preflight') }),
      }
    })
  }
}
