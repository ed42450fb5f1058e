import { loadConfig } from '../src/config/config.ts'
import { homeAt } from '../src/keyring/home.ts'
import { initialise } from '../src/keyring/initialise.ts'
import { Journal } from '../src/migration/journal.ts'
import { describeApplication } from '../src/ui/init-dialogue.ts'
import { canAsk } from '../src/ui/prompts.ts'
import { KvxCommand } from './_program/kvx-command.ts'
import { answersOf } from './_program/run-flags.ts'

export default class Init extends KvxCommand {
  static override summary = 'Write a commented kvx.yaml, an empty home, and the audit key.'
  static override description =
    'On a terminal it asks what the application is like and shows the file before it writes it; with --no-input or without a terminal it writes a template. Never asks for a key, and touches no file of the application. A kvx.yaml that is there already is kept, and only its home is made; an existing home is exit 2.'
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
      const answers = answersOf(flags)
      const made = await initialise({
        config: flags.config,
        home: flags.home,
        dryRun: flags['dry-run'],
        describe: canAsk(answers) ? async (at) => describeApplication(at, answers.yes) : undefined,
      })
      // Made now, so that a command that is refused later finds everything there and leaves every byte as it was.
      if (!flags['dry-run']) Journal.open(homeAt(made.home)).close()
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
                ...(await nextLines(made.config, flags.home)),
              ]),
        ],
      }
    })
  }
}

async function nextLines(path: string, home: string | undefined): Promise<readonly string[]> {
  const [name] = Object.keys((await loadConfig({ config: path, home })).keys)
  const key = name ?? 'NAME'
  const pad = ' '.repeat(key.length)
  return [
    name === undefined ? 'Next: describe your application in kvx.yaml, then' : 'Next:',
    `  kvx key import ${key}     take over the key that it has`,
    `  kvx verify         ${pad}     open everything once, change nothing`,
    `  kvx backup create ${key}  make a backup and prove it`,
  ]
}
