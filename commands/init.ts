import { dirname, join, resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { loadConfig } from '../src/config/config.ts'
import { adjustMark, findProfile, listProfiles, type Profile } from '../src/config/profiles.ts'
import { profileConfig } from '../src/config/template.ts'
import { KvxError } from '../src/core/errors.ts'
import { homeAt } from '../src/keyring/home.ts'
import { initialise, type NewConfig } from '../src/keyring/initialise.ts'
import { Journal } from '../src/migration/journal.ts'
import { exists, readFileCapped } from '../src/platform/files.ts'
import { describeApplication, profileTable } from '../src/ui/init-dialogue.ts'
import { canAsk } from '../src/ui/prompts.ts'
import { KvxCommand, type Outcome } from './_program/kvx-command.ts'
import { answersOf } from './_program/run-flags.ts'

export default class Init extends KvxCommand {
  static override summary = 'Write a commented kvx.yaml, an empty home, and the audit key.'
  static override description =
    'With --profile it writes the ready declaration of a known application, whose marked places an operator adjusts. Without, on a terminal, it asks what the application is like and shows the file before it writes it; with --no-input or without a terminal it writes a template. Never asks for a key, and touches no file of the application. A kvx.yaml that is there already is kept, and only its home is made; an existing home is exit 2.'
  static override examples = [
    { description: 'In this folder', command: '<%= config.bin %> init' },
    { description: 'For an application that kvx knows', command: '<%= config.bin %> init --profile rcrt' },
    {
      description: 'For the whole machine',
      command: '<%= config.bin %> init --config /etc/kvx/kvx.yaml --home /var/lib/kvx',
    },
  ]
  static override flags = {
    profile: Flags.string({
      description: 'a known application, whose stores, keys and envelopes are declared ready',
      helpValue: 'NAME',
      exclusive: ['list-profiles'],
    }),
    'list-profiles': Flags.boolean({ description: 'list the profiles and write nothing' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.init/1', async () => {
      const { flags } = await this.parse(Init)
      if (flags['list-profiles']) return profileList(flags)
      const answers = answersOf(flags)
      const profile = await namedProfile(flags)
      const made = await initialise({
        config: flags.config,
        home: flags.home,
        dryRun: flags['dry-run'],
        describe: describer(profile, canAsk(answers), answers.yes),
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

const maxConfigBytes = 1_048_576

type Places = { readonly config?: string | undefined; readonly home?: string | undefined }

function configPath(flags: Places): string {
  return resolve(flags.config ?? process.env['KVX_CONFIG'] ?? 'kvx.yaml')
}

/**
 * A configuration that is there is kept, so that a profile for it would be lost without a word.
 * @throws TARGET_EXISTS, USAGE for an unknown name
 */
async function namedProfile(
  flags: Places & { readonly profile?: string | undefined },
): Promise<Profile | undefined> {
  if (flags.profile === undefined) return undefined
  const profile = await findProfile(flags.profile)
  const path = configPath(flags)
  if (!(await exists(path))) return profile
  throw new KvxError(
    'TARGET_EXISTS',
    `there is a configuration at ${path}, and a profile does not replace it`,
    {
      hint: `Move it away first, or write the profile beside it: \`kvx init --profile ${profile.name} --config FILE\`. Nothing was changed.`,
    },
  )
}

function describer(
  profile: Profile | undefined,
  canBeAsked: boolean,
  assumeYes: boolean,
): ((at: NewConfig) => Promise<string>) | undefined {
  if (profile !== undefined) return async ({ namedHome }) => profileConfig(profile.text, namedHome)
  return canBeAsked ? async (at) => describeApplication(at, assumeYes) : undefined
}

/** The document is that of a run that wrote nothing, with the profiles besides. */
async function profileList(flags: Places): Promise<Outcome> {
  const profiles = await listProfiles()
  const config = configPath(flags)
  const home = flags.home === undefined ? join(dirname(config), '.kvx') : resolve(flags.home)
  return {
    data: {
      config,
      configWritten: false,
      home,
      auditFingerprint: null,
      profiles: profiles.map(({ name, summary }) => ({ name, summary })),
    },
    lines: [...profileTable(profiles), '', 'Take one: kvx init --profile NAME'],
  }
}

async function nextLines(path: string, home: string | undefined): Promise<readonly string[]> {
  const { keys } = await loadConfig({ config: path, home })
  const { bytes } = await readFileCapped(path, { maxBytes: maxConfigBytes, follow: true })
  const named = Object.entries(keys).map(([name, { purpose, backup }]) => ({ name, purpose, backup }))
  const all = named.length === 0 ? [{ name: 'NAME', purpose: 'data', backup: undefined }] : named
  const steps = [
    // A vault is kvx's own: mostly there is no key yet.
    ...all.map(({ name, purpose }) =>
      purpose === 'vault'
        ? [`kvx keygen ${name}`, `make the key; or take one over: kvx key import ${name}`]
        : [`kvx key import ${name}`, 'take over the key that it has'],
    ),
    ['kvx verify', 'open everything once, change nothing'],
    ...all.map(({ name, backup }) => [
      `kvx backup create ${name}`,
      `make a backup and prove it${backup === undefined ? '; `backup:` of the key says for whom' : ''}`,
    ]),
  ]
  const width = Math.max(...steps.map(([command = '']) => command.length))
  return [
    nextTitle(named[0]?.name, bytes.toString('utf8').split(adjustMark).length - 1),
    ...steps.map(([command = '', what = '']) => `  ${command.padEnd(width)}  ${what}`),
  ]
}

function nextTitle(key: string | undefined, marks: number): string {
  if (key === undefined) return 'Next: describe your application in kvx.yaml, then'
  return marks === 0 ? 'Next:' : `Next: look at the ${marks} places marked "${adjustMark}" in kvx.yaml, then`
}
