import * as Flags from '@oclif/core/flags'
import { setState } from '../../src/keyring/change-state.ts'
import { versionOfSubject } from '../../src/keyring/keyring.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf, checkedReason } from '../_program/run-flags.ts'

export default class KeySuspend extends KvxCommand {
  static override summary = 'Stop a version from sealing and opening until it is resumed.'
  static override description =
    'kvx neither seals nor opens with a suspended version. Published places are left as they are: taking the key from readers is a step of its own.'
  static override examples = [
    {
      description: 'While an incident is looked into',
      command: '<%= config.bin %> key suspend master@1 --reason "incident 12"',
    },
  ]
  static override args = { subject: argument({ description: 'NAME@VERSION', required: true }) }
  static override flags = {
    reason: Flags.string({ description: 'why; recorded', required: true, helpValue: 'TEXT' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.key.suspend/1', async () => {
      const { args, flags } = await this.parse(KeySuspend)
      const reason = checkedReason(flags.reason)
      const workspace = await openWorkspace(flags)
      const { name, version } = versionOfSubject(args.subject)
      const subject = `${name}@${version}`
      if (!flags['dry-run']) {
        await confirmStep(`Suspend ${subject}?`, answersOf(flags))
        await setState(workspace, { name, version, reason }, 'suspended')
      }
      const lines = flags['dry-run']
        ? [`would do: suspend ${subject}`]
        : [`${subject}: suspend done`, `Next: kvx key show ${name}`]
      return { data: { name, version, done: !flags['dry-run'] }, lines }
    })
  }
}
