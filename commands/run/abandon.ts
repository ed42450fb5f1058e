import * as Flags from '@oclif/core/flags'
import { keyOf, readKeyring } from '../../src/keyring/keyring.ts'
import { publicationDrift } from '../../src/keyring/publish/publish.ts'
import { configuredKey, openWorkspace, type Workspace } from '../../src/keyring/workspace.ts'
import { abandonRun, requireUnfinished } from '../../src/migration/abandon.ts'
import { Journal, type RunRow } from '../../src/migration/journal.ts'
import { confirmTyped } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf, checkedReason } from '../_program/run-flags.ts'

export default class RunAbandon extends KvxCommand {
  static override summary = 'Give up an unfinished run that can go neither on nor back.'
  static override description =
    'For a run whose store was moved or dropped, whose envelope was removed, or whose folder was lost. No value and no key is touched: every version opens what lies under it, and the data says which one that is. The version that seals goes on sealing; `kvx verify` then tells what lies where, and `kvx rewrap` or `kvx reencrypt` moves it.'
  static override examples = [
    {
      description: 'The database of the run was dropped',
      command:
        '<%= config.bin %> run abandon 20260101T000000Z-abc123 --reason "the test database is gone" --confirm 20260101T000000Z-abc123',
    },
  ]
  static override args = { id: argument({ description: 'the run', required: true }) }
  static override flags = {
    reason: Flags.string({ description: 'why; recorded and signed', required: true, helpValue: 'TEXT' }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.run.abandon/1', async () => {
      const { args, flags } = await this.parse(RunAbandon)
      const reason = checkedReason(flags.reason)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: flags['dry-run'] })
      try {
        const run = journal.get(args.id)
        requireUnfinished(run)
        if (flags['dry-run']) {
          const { seals } = keyOf(await readKeyring(workspace.home), run.key)
          const data = { run: run.id, key: run.key, seals, abandoned: false, drift: [] }
          return { data, run: run.id, lines: [`run ${run.id} would be given up`, sealing(run, seals)] }
        }
        await confirmTyped(`Give up run ${run.id}?`, run.id, answersOf(flags))
        const { seals } = await abandonRun(workspace, journal, run, reason)
        const drift = await driftOf(workspace, run)
        return {
          data: { run: run.id, key: run.key, seals, abandoned: true, drift },
          run: run.id,
          lines: [
            `run ${run.id} is given up; nothing else was changed`,
            sealing(run, seals),
            ...drift.map((place) => `  ${place} holds something else: kvx key publish ${run.key}`),
            'Next: kvx verify',
          ],
        }
      } finally {
        journal.close()
      }
    })
  }
}

function sealing({ key }: RunRow, seals: number | null): string {
  return seals === null ? `no version of ${key} seals` : `${key}@${seals} seals, as before`
}

/** A run that went wrong may have left places half published; one that cannot be looked at stops nothing here. */
async function driftOf(workspace: Workspace, { key }: RunRow): Promise<readonly string[]> {
  const ring = await readKeyring(workspace.home)
  if (workspace.config.keys[key] === undefined) return []
  return publicationDrift(ring, key, configuredKey(workspace.config, key))
}
