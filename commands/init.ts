import { initialise } from '../src/keyring/initialise.ts'
import { KvxCommand } from './_program/kvx-command.ts'

export default class Init extends KvxCommand {
  static override summary = 'Write a commented kvx.yaml, an empty home, and the audit key.'
  static override description =
    'Touches no file of the application. A kvx.yaml that is there already is kept, and only its home is made; an existing home is exit 2.'
  static override examples = [
    { description: 'In this folder', command: '<%= config.bin %> init' },
    {
      description: 'For the whole machine',
      command: '<%= config.bin %> init --config /etc/kvx/kvx.yaml --home /var/lib/kvx',
    },
  ]

  async run(): Promise<void> {
    await this.finish('kvx.init/1', async () => {
      const { flags } = await this.parse(Init)
      const made = await initialise({ config: flags.config, home: flags.home, dryRun: flags['dry-run'] })
      return {
        data: made,
        lines: [
          `${made.configWritten ? 'wrote' : 'kept'}  ${made.config}`,
          `home  ${made.home}`,
          ...(made.auditFingerprint === null
            ? ['dry run: nothing was written']
            : [
                `audit key  ${made.auditFingerprint}`,
                'Keep that fingerprint elsewhere: it is how reports of this home are recognised.',
                'Next: describe your application in kvx.yaml, then',
                '  kvx key import NAME     take over the key that it has',
                '  kvx verify              open everything once, change nothing',
                '  kvx backup create NAME  make a backup and prove it',
              ]),
        ],
      }
    })
  }
}
