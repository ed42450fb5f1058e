import { withIntent } from '../../src/audit/with-intent.ts'
import { readKeyring } from '../../src/keyring/keyring.ts'
import { publicationDrift, publishKey } from '../../src/keyring/publish/publish.ts'
import { configuredKey, openWorkspace } from '../../src/keyring/workspace.ts'
import { refuseWithdrawn } from '../../src/migration/gates.ts'
import { rememberPublications } from '../../src/migration/publications.ts'
import { Journal } from '../../src/migration/journal.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'

export default class KeyPublish extends KvxCommand {
  static override summary = 'Bring the published places of a key to what the keyring says.'
  static override description =
    'Places that hold the right keys already are left alone. Each one that is written keeps its owner, mode, ACL and every other line, and is read back.'
  static override examples = [
    { description: 'See what would change', command: '<%= config.bin %> key publish master --dry-run' },
    { description: 'Repair', command: '<%= config.bin %> key publish master --yes' },
  ]
  static override args = { name: argument({ description: 'the key', required: true }) }

  async run(): Promise<void> {
    await this.finish('kvx.key.publish/1', async () => {
      const { args, flags } = await this.parse(KeyPublish)
      const workspace = await openWorkspace(flags)
      const { name } = args
      const config = configuredKey(workspace.config, name)
      const drift = await publicationDrift(await readKeyring(workspace.home), name, config)
      if (drift.length === 0 || flags['dry-run']) {
        const lines =
          drift.length === 0
            ? ['every published place agrees; nothing to do']
            : drift.map((place) => `would write ${place}`)
        return { data: { name, published: drift.map((place) => ({ place, changed: false })) }, lines }
      }
      const journal = Journal.open(workspace.home, { look: true })
      try {
        refuseWithdrawn(journal, await readKeyring(workspace.home), name, config)
      } finally {
        journal.close()
      }
      await confirmStep(`Write ${drift.join(', ')}?`, answersOf(flags))
      const places = await withIntent(workspace.audit, { action: 'key.publish', subject: name }, async () =>
        publishKey(workspace.home, { name, config }),
      )
      await rememberPublications(workspace)
      return {
        data: { name, published: places },
        lines: places.map(
          ({ place, changed }) => `${place}  ${changed ? 'written and read back' : 'was right'}`,
        ),
      }
    })
  }
}
