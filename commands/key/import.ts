import { Flags } from '@oclif/core'
import { checkValueOf } from '../../src/core/fingerprint.ts'
import { importKey } from '../../src/keyring/import-key.ts'
import { rememberPublications } from '../../src/migration/publications.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class KeyImport extends KvxCommand {
  static override summary = 'Take over a key that an application already has.'
  static override description =
    'Without --from it is read from the first published place of the configuration. Where the previous slot is filled too, that becomes version 1 (opens only) and the current one version 2 (seals). Published files are not touched; the same bytes again are nothing to do.'
  static override examples = [
    {
      description: 'From where the configuration publishes it',
      command: '<%= config.bin %> key import master',
    },
    {
      description: 'From another env file, under the number that the application gives it',
      command:
        '<%= config.bin %> key import master --from env-file:/etc/app.env#KEK --encoding base64 --version 3',
    },
    {
      description: 'From standard input',
      command: 'pass show app/kek | <%= config.bin %> key import master --from stdin --encoding hex',
    },
  ]
  static override args = {
    name: argument({ description: 'the key, as the configuration names it', required: true }),
  }
  static override flags = {
    from: Flags.string({ description: 'file:PATH, env-file:PATH#VARIABLE or stdin', helpValue: 'SOURCE' }),
    version: Flags.integer({
      description: 'the application’s own number; 1 unless told',
      min: 1,
      max: 99_999_999,
      helpValue: 'N',
    }),
    encoding: Flags.option({
      description: 'how the bytes are written there; the published encoding unless told',
      options: ['raw', 'base64', 'base64url', 'hex', 'ascii'] as const,
    })(),
  }

  async run(): Promise<void> {
    await this.finish('kvx.key.import/1', async () => {
      const { args, flags } = await this.parse(KeyImport)
      const workspace = await openWorkspace(flags)
      const imported = await importKey(workspace, {
        name: args.name,
        from: flags.from,
        version: flags.version,
        encoding: flags.encoding,
        dryRun: flags['dry-run'],
      })
      if (!flags['dry-run']) await rememberPublications(workspace)
      const versions = imported.versions.map((one) => ({ ...one, checkValue: checkValueOf(one.fingerprint) }))
      return {
        data: { name: args.name, versions },
        lines: [
          ...versions.map(
            ({ version, checkValue, state, changed }) =>
              `${args.name}@${version}  check value ${checkValue}  ${state}${changed ? '' : ' (known already, nothing to do)'}`,
          ),
          ...(flags['dry-run']
            ? ['dry run: the key can be read, nothing was written']
            : ['Next: kvx verify']),
        ],
        warnings: imported.warnings,
      }
    })
  }
}
