import * as Flags from '@oclif/core/flags'
import { runDrill } from '../../src/keyring/drill.ts'
import { train } from '../../src/keyring/training.ts'
import { trainingNumbers } from '../../src/keyring/known-set.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { cardScreen } from '../../src/ui/card-screen.ts'
import { shareSource } from '../../src/ui/collect-shares.ts'
import { drillLines, drillData } from '../../src/ui/drill-view.ts'
import { showPrivately } from '../../src/ui/private-screen.ts'
import { type Answers, canAsk } from '../../src/ui/prompts.ts'
import { openShareInput } from '../../src/ui/share-reader.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand, type Outcome } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'
import { shareFdFlag, showMachine, surroundings, surroundingsFlags } from '../_program/share-flags.ts'

export default class BackupDrill extends KvxCommand {
  static override summary =
    'Practise the worst day: get the key back from shares or a backup, prove it, let it go.'
  static override description =
    'The key is rebuilt in memory, compared with its full fingerprint, opens the canary of its version, and is wiped. It is never written, shown or returned, and nothing that is in use changes. A signed report says who took part and when the next drill is due; `kvx status` reminds of it after a year. With --dry-run it is a training with a throw-away key: at a terminal its shares are shown and typed back.'
  static override examples = [
    {
      description: 'Custodians enter their shares one after another',
      command: '<%= config.bin %> backup drill master',
    },
    {
      description: 'With an OpenPGP backup and the private key at hand',
      command: '<%= config.bin %> backup drill master --gpg B7K2M9',
    },
    {
      description: 'Train with a key that is thrown away',
      command: '<%= config.bin %> backup drill master --dry-run',
    },
  ]
  static override args = { subject: argument({ description: 'NAME or NAME@VERSION', required: true }) }
  static override flags = {
    gpg: Flags.string({
      description: 'an OpenPGP backup, by its id or file, in place of shares',
      helpValue: 'ID',
      exclusive: ['share-fd'],
    }),
    ...shareFdFlag,
    ...surroundingsFlags,
  }

  async run(): Promise<void> {
    await this.finish('kvx.backup.drill/1', async () => {
      const { args, flags } = await this.parse(BackupDrill)
      const answers = answersOf(flags)
      const around = surroundings(flags)
      const workspace = await openWorkspace(flags)
      if (flags['dry-run']) return trained(await trainingNumbers(workspace, args.subject), answers)
      if (flags.gpg === undefined) await showMachine(flags, answers)
      const input = flags.gpg === undefined ? await openShareInput(flags['share-fd'], answers) : undefined
      try {
        const drill = await runDrill(workspace, {
          subject: args.subject,
          from: input === undefined ? { backup: flags.gpg ?? '' } : { shares: shareSource(input, answers) },
          interactive: process.stdin.isTTY && !answers.noInput,
        })
        return { data: drillData(drill), lines: drillLines(drill), warnings: [...around, ...drill.warnings] }
      } finally {
        input?.close()
      }
    })
  }
}

/** A training with people where there are some, else with shares that meet by themselves. */
async function trained(
  numbers: { readonly threshold: number; readonly of: number },
  answers: Answers,
): Promise<Outcome> {
  const isHere = canAsk(answers) && process.stdout.isTTY
  const input = isHere ? await openShareInput(undefined, answers) : undefined
  try {
    await train({
      ...numbers,
      show: isHere
        ? async (share) =>
            showPrivately(await cardScreen(share, 'TRAINING: copy it by hand, then press Enter.'))
        : undefined,
      source: input && shareSource(input, answers),
    })
  } finally {
    input?.close()
  }
  const line = `training: ${numbers.threshold} of ${numbers.of} shares of a throw-away key rebuilt it`
  return {
    data: { name: null, version: null, report: null, training: true },
    lines: [line, 'dry run: nothing was written'],
  }
}
