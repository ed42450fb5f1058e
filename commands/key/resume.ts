import * as Flags from '@oclif/core/flags'
import { resumeVersion } from '../../src/keyring/change-state.ts'
import { versionOfSubject } from '../../src/keyring/keyring.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf, checkedReason } from '../_program/run-flags.ts'

export default class KeyResume extends KvxCommand {
  static override summary = 'Take a suspended version back into use.'
  static override description = 'The version becomes again what it was before it was suspended.'
  static override examples = [
    {
      description: 'After the all-clear',
      command: '<%= config.bin %> key resume master@1 --reason "incident 12 closed"',
    },
  ]
  static override args = { subject: argument({ description: 'NAME@VERSION', required: true }) }
  static override flags = {
    reason: Flags.string({ description: 'why; recorded', required: true, helpValue: 'TEXT' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.key.resume/1', async () => {
      const { args, flags } = await this.parse(KeyResume)
      const reason = checkedReason(flags.reason)
      const workspace = await openWorkspace(flags)
      const { name, version } = versionOfSubject(args.subject)
      const subject = `${name}@${version}`
      if (!flags['dry-run']) {
        await confirmStep(`Resume ${subject}?`, answersOf(flags))
        await resumeVersion(workspace, { name, version, reason })
      }
      const lines = flags['dry-run']
        ? [`would do: resume ${subject}`]
        : [`${subject}: resume done`, `Next: kvx key show ${name}`]
      return { data: { name, version, done: !flags['dry-run'] }, lines }
    })
  }
}
