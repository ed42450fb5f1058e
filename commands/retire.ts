import { refuseUnapproved } from '../src/approvals/gate.ts'
import { keyOf, readKeyring, versionOf, versionOfSubject } from '../src/keyring/keyring.ts'
import { openWorkspace, type Workspace } from '../src/keyring/workspace.ts'
import { Journal } from '../src/migration/journal.ts'
import { finishRetirement, requireRetirable, retireVersion } from '../src/migration/retire.ts'
import { confirmTyped } from '../src/ui/prompts.ts'
import { retiredData, retiredLines, unpublishedLines } from '../src/ui/retire-view.ts'
import { argument } from './_program/arguments.ts'
import { KvxCommand, type Outcome } from './_program/kvx-command.ts'
import {
  acceptedLoss,
  acceptedShrunk,
  acceptLossFlags,
  acceptShrunkFlags,
  answersOf,
  dropPlaceFlags,
  droppedPlaces,
  workFlags,
  withProgress,
} from './_program/run-flags.ts'

export default class Retire extends KvxCommand {
  static override summary = 'Prove that no value needs a version any more, mark it, and unpublish it.'
  static override description =
    'Two full scans of every declared place, a reader’s cache-ttl apart. One value that needs the version, or a place that had values and is not declared any more, or has lost over a half of them: exit 6, and the key is untouched. The material stays in the home; `key unretire` takes the mark back.'
  static override examples = [
    {
      description: 'The gate, with the name typed at the prompt',
      command: '<%= config.bin %> retire master@1',
    },
    { description: 'In a script', command: '<%= config.bin %> retire master@1 --confirm master@1' },
  ]
  static override args = { subject: argument({ description: 'NAME@VERSION', required: true }) }
  static override flags = { ...workFlags, ...acceptLossFlags, ...dropPlaceFlags, ...acceptShrunkFlags }

  async run(): Promise<void> {
    await this.finish('kvx.retire/1', async () => {
      const { args, flags } = await this.parse(Retire)
      const { name, version } = versionOfSubject(args.subject)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: flags['dry-run'] })
      try {
        const ring = await readKeyring(workspace.home)
        const { retired } = versionOf(keyOf(ring, name), name, version)
        const acceptLoss = acceptedLoss(flags)
        if (retired === null) await requireRetirable(workspace, journal, ring, { name, version, acceptLoss })
        if (retired !== null && !flags['dry-run'])
          return await finished(workspace, { name, version, retired })
        if (flags['dry-run']) {
          return {
            data: { name, version, retired: false },
            lines: [`${name}@${version} would be scanned for, then retired`],
          }
        }
        refuseUnapproved(workspace.config, ['retire'], undefined, `retire ${name}@${version}`)
        await confirmTyped(`Retire ${name}@${version}?`, `${name}@${version}`, answersOf(flags))
        return await withProgress(flags, async (events) => {
          const done = await retireVersion(workspace, journal, {
            name,
            version,
            acceptLoss,
            drop: droppedPlaces(flags),
            acceptShrunk: acceptedShrunk(flags),
            events,
          })
          events.end()
          return { data: retiredData({ name, version }, done), lines: retiredLines({ name, version }, done) }
        })
      } finally {
        journal.close()
      }
    })
  }
}

/** A retirement that a crash cut short after its mark: what is left is to unpublish. */
async function finished(
  workspace: Workspace,
  one: {
    readonly name: string
    readonly version: number
    readonly retired: { readonly at: string; readonly certificate: string }
  },
): Promise<Outcome> {
  const { name, version, retired } = one
  const places = (await finishRetirement(workspace, name, version)) ?? []
  return {
    data: { name, version, retired: true, certificate: retired.certificate, scans: [], published: places },
    lines: [`${name}@${version} is retired already, since ${retired.at}`, ...unpublishedLines(places)],
  }
}
