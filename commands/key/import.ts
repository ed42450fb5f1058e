import * as Flags from '@oclif/core/flags'
import { checkValueOf } from '../../src/core/fingerprint.ts'
import { importKey } from '../../src/keyring/import-key.ts'
import { keySources } from '../../src/keyring/key-source.ts'
import { opensData } from '../../src/migration/opens-data.ts'
import { rememberPublications } from '../../src/migration/publications.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { requireTakeOver } from '../../src/migration/take-over.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { checkedReason } from '../_program/run-flags.ts'

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
      description: 'From a program that prints it',
      command:
        "<%= config.bin %> key import master --key-command 'vault kv get -field=kek secret/app' --encoding base64",
    },
    {
      description: 'From standard input',
      command: 'pass show app/kek | <%= config.bin %> key import master --from stdin --encoding hex',
    },
    {
      description: 'From a Secret of Kubernetes in its manifest, whose base64 is taken off once',
      command:
        '<%= config.bin %> key import master --from kubernetes-secret:/srv/k8s/app.yaml#app-kek/KEK --encoding base64',
    },
    {
      description: 'An old key that no random source made, and that data lies under',
      command:
        '<%= config.bin %> key import master --version 1 --from file:/secure/old.key --accept-risk --reason "the first key of 2019"',
    },
    {
      description: 'A version that the application made by itself and seals with already',
      command: '<%= config.bin %> key import master --from file:/etc/app/keys/2.key --version 2 --seals',
    },
  ]
  static override args = {
    name: argument({ description: 'the key, as the configuration names it', required: true }),
  }
  static override flags = {
    from: Flags.string({ description: keySources.join(', '), helpValue: 'SOURCE' }),
    'key-command': Flags.string({
      description:
        'a program that prints the key, found in PATH and run without a shell; it gets the environment of this command',
      helpValue: 'WORDS',
    }),
    version: Flags.integer({
      description: 'the application’s own number; 1 unless told',
      min: 1,
      max: 99_999_999,
      helpValue: 'N',
    }),
    seals: Flags.boolean({
      description:
        'this version seals from now on: every reader has it. Needs --version, above the one that seals; no published place is touched',
    }),
    'accept-risk': Flags.boolean({
      description:
        'take a key that no random source makes, or one that others could have written, although no declared value opens under it; needs --reason',
      dependsOn: ['reason'],
    }),
    reason: Flags.string({ description: 'why; recorded and signed', helpValue: 'TEXT' }),
    encoding: Flags.option({
      description: 'how the bytes are written there; the published encoding unless told',
      options: ['raw', 'base64', 'base64url', 'hex', 'ascii'] as const,
    })(),
  }

  async run(): Promise<void> {
    await this.finish('kvx.key.import/1', async () => {
      const { args, flags } = await this.parse(KeyImport)
      const workspace = await openWorkspace(flags)
      if (flags.seals) await requireTakeOver(workspace, args.name, flags.version)
      const imported = await importKey(workspace, {
        name: args.name,
        from: flags.from,
        version: flags.version,
        encoding: flags.encoding,
        keyCommand: flags['key-command'],
        seals: flags.seals,
        acceptedRisk: flags['accept-risk'] ? checkedReason(flags.reason) : undefined,
        opensData: async (keys) => opensData(workspace.config, args.name, keys),
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
            : [flags.seals ? `Next: kvx backup create ${args.name}, then kvx rewrap` : 'Next: kvx verify']),
        ],
        warnings: imported.warnings,
      }
    })
  }
}
