import * as Flags from '@oclif/core/flags'
import { setState } from '../../src/keyring/change-state.ts'
import { versionOfSubject } from '../../src/keyring/keyring.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf, checkedReason } from '../_program/run-flags.ts'

export default class KeyCompromise extends KvxCommand {
  static override summary = 'Mark a version as compromised: it opens only to move values away.'
  static override description = 'There is no way back from this state. Rotate, move every value, retire it.'
  static override examples = [
    {
      description: 'The key was in a public repository',
      command: '<%= config.bin %> key compromise master@1 --reason "leaked in commit 4f2a"',
    },
  ]
  static override args = { subject: argument({ description: 'NAME@VERSION', required: true }) }
  static override flags = {
    reason: Flags.string({ description: 'why; recorded', required: true, helpValue: 'TEXT' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.key.compromise/1', async () => {
      const { args, flags } = await this.parse(KeyCompromise)
      const reason = checkedReason(flags.reason)
      const workspace = await openWorkspace(flags)
      const { name, version } = versionOfSubject(args.subject)
      const subject = `${name}@${version}`
      if (!flags['dry-run']) {
        await confirmStep(`Mark as compromised ${subject}?`, answersOf(flags))
        await setState(workspace, { name, version, reason }, 'compromised')
      }
      const lines = flags['dry-run']
        ? [`would do: compromise ${subject}`]
        : [`${subject}: compromise done`, `Next: kvx key show ${name}`]
      return { data: { name, version, done: !flags['dry-run'] }, lines }
    })
  }
}
