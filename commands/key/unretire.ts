import { versionOfSubject } from '../../src/keyring/keyring.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { unretireVersion } from '../../src/migration/retire.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'

export default class KeyUnretire extends KvxCommand {
  static override summary = 'Take the mark of a retired version back.'
  static override description =
    'For values that came back under it, e.g. from an old dump. It opens again and is published nowhere.'
  static override examples = [
    { description: 'After an old dump was loaded', command: '<%= config.bin %> key unretire master@1' },
  ]
  static override args = { subject: argument({ description: 'NAME@VERSION', required: true }) }

  async run(): Promise<void> {
    await this.finish('kvx.key.unretire/1', async () => {
      const { args, flags } = await this.parse(KeyUnretire)
      const workspace = await openWorkspace(flags)
      const { name, version } = versionOfSubject(args.subject)
      if (!flags['dry-run']) {
        await confirmStep(`Take the mark of ${name}@${version} back?`, answersOf(flags))
        await unretireVersion(workspace, name, version)
      }
      const lines = [
        `${name}@${version} ${flags['dry-run'] ? 'would open again' : 'opens again'}`,
        'Next: kvx verify',
      ]
      return { data: { name, version, done: !flags['dry-run'] }, lines }
    })
  }
}
