import * as Flags from '@oclif/core/flags'
import { openWorkspace } from '../src/keyring/workspace.ts'
import { Journal } from '../src/migration/journal.ts'
import { rotationData, rotationLines } from '../src/ui/rotation-view.ts'
import { argument } from './_program/arguments.ts'
import { KvxCommand } from './_program/kvx-command.ts'
import { rotateCommand } from './_program/rotate-command.ts'
import { gateFlags, onErrorFlag, throttleFlags, withProgress } from './_program/run-flags.ts'

export default class Rotate extends KvxCommand {
  static override summary = 'Make a new version of a key the one that seals.'
  static override description = [
    'The new version is durable, backed up, proven and canaried before its first use. Readers get it in their second slot first (--stage), and seal with it only when all of them have it (--activate); with the application stopped, --offline does both at once.',
    'Where the key’s configured backup was not opened by a key at hand, the rotation waits: a recipient reads the receipt back, `kvx backup confirm ID`, then `--activate` goes on.',
  ].join('\n\n')
  static override examples = [
    {
      description: 'With the application stopped, its data in the same run',
      command: '<%= config.bin %> rotate master --offline --then data',
    },
    {
      description: 'Give readers the new version in their second slot',
      command: '<%= config.bin %> rotate master --stage',
    },
    {
      description: 'When every reader was restarted',
      command: '<%= config.bin %> rotate master --activate --rolled-out',
    },
    { description: 'Take a staged version back', command: '<%= config.bin %> rotate master --unstage' },
  ]
  static override args = { name: argument({ description: 'the key', required: true }) }
  static override flags = {
    stage: Flags.boolean({
      description: 'publish the new version in the second slot and stop there',
      exclusive: ['activate', 'unstage', 'offline'],
    }),
    activate: Flags.boolean({
      description: 'go on with a staged or waiting rotation',
      exclusive: ['unstage', 'offline'],
    }),
    unstage: Flags.boolean({ description: 'take a staged version back', exclusive: ['offline', 'then'] }),
    offline: Flags.boolean({ description: 'the application is stopped: both slots at once' }),
    // oxlint-disable-next-line unicorn/no-thenable -- a flag's name in the contract; its value is text, never a function
    then: Flags.option({
      description: 'go on with the data: rewrap or re-encrypt as each envelope needs, then verify',
      options: ['data'] as const,
    })(),
    ...throttleFlags,
    ...onErrorFlag,
    ...gateFlags,
  }

  async run(): Promise<void> {
    await this.finish('kvx.rotate/1', async () => {
      const { args, flags } = await this.parse(Rotate)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: flags['dry-run'] })
      try {
        return await withProgress(flags, async (events) => {
          const done = await rotateCommand({ workspace, journal, name: args.name, flags, events })
          events.end()
          return {
            data: await rotationData(workspace, args.name, done),
            lines: await rotationLines(workspace, args.name, done),
            ...(done.run === undefined ? {} : { run: done.run.id }),
            ...(done.data?.failure === undefined ? {} : { failure: done.data.failure }),
          }
        })
      } finally {
        journal.close()
      }
    })
  }
}
