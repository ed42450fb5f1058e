import * as Flags from '@oclif/core/flags'
import { loadConfig } from '../src/config/config.ts'
import { KvxError } from '../src/core/errors.ts'
import { homeAt } from '../src/keyring/home.ts'
import { rebuildKeyring } from '../src/keyring/rebuild.ts'
import { openWorkspace } from '../src/keyring/workspace.ts'
import { examine } from '../src/migration/doctor.ts'
import { Journal } from '../src/migration/journal.ts'
import { waitingRotations } from '../src/migration/waiting-rotations.ts'
import { doctorLines } from '../src/ui/doctor-view.ts'
import { keyData, keyTable } from '../src/ui/key-view.ts'
import { confirmStep } from '../src/ui/prompts.ts'
import { KvxCommand, type Outcome } from './_program/kvx-command.ts'
import { answersOf } from './_program/run-flags.ts'

export default class Doctor extends KvxCommand {
  static override summary =
    'Look at the whole installation: tools, key files, published places, leftovers, log, clock.'
  static override description =
    'Mends nothing; each finding comes with the command that does. With --rebuild-keyring a lost or damaged keyring.json is made again from key files, backup manifests and published places; the old one is kept beside it.'
  static override examples = [
    { description: 'Is everything as it should be?', command: '<%= config.bin %> doctor' },
    {
      description: 'The keyring is lost, the key files are there',
      command: '<%= config.bin %> doctor --rebuild-keyring --yes',
    },
  ]
  static override flags = {
    'rebuild-keyring': Flags.boolean({ description: 'make keyring.json again from what is there' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.doctor/1', async () => {
      const { flags } = await this.parse(Doctor)
      if (flags['rebuild-keyring']) return rebuild(flags)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: true })
      try {
        const examinations = await examine(workspace, journal)
        const wrong = examinations.filter(({ health }) => health !== 'ok')
        const [first] = wrong.filter(({ health }) => health === 'stop')
        return {
          data: { examinations },
          lines: doctorLines(examinations),
          ...(first === undefined
            ? {}
            : {
                failure: new KvxError(
                  'FINDINGS',
                  `${first.name}: ${first.message}`,
                  first.remedy === undefined ? {} : { hint: first.remedy },
                ),
              }),
        }
      } finally {
        journal.close()
      }
    })
  }
}

type RebuildFlags = Parameters<typeof answersOf>[0] & {
  readonly config: string | undefined
  readonly home: string | undefined
  readonly 'dry-run': boolean
}

async function rebuild(flags: RebuildFlags): Promise<Outcome> {
  const config = await loadConfig(flags)
  if (!flags['dry-run']) await confirmStep(`Make ${config.home}/keyring.json again?`, answersOf(flags))
  const waiting = waitingRotations(homeAt(config.home))
  const { ring, kept, warnings } = await rebuildKeyring(config, { waiting, dryRun: flags['dry-run'] })
  return {
    data: { keys: Object.entries(ring.keys).map(([name, key]) => keyData(name, key)), kept: kept ?? null },
    lines: [
      ...keyTable(ring),
      ...(kept === undefined ? [] : [`the old keyring is kept as ${kept}`]),
      flags['dry-run'] ? 'dry run: nothing was written' : 'Next: kvx verify',
    ],
    warnings,
  }
}
