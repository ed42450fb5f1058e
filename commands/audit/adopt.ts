import { resolve } from 'node:path'
import { adoptLog } from '../../src/audit/adopt.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class AuditAdopt extends KvxCommand {
  static override summary = 'Take a log that was written with --audit-to into the home’s log.'
  static override description =
    'The file is verified with the home’s keys, kept under audit/adopted/, and named in the log by its head and SHA-256.'
  static override examples = [
    {
      description: 'When the disk is back',
      command: '<%= config.bin %> audit adopt /secure/restore-log.jsonl --json',
    },
  ]
  static override args = { file: argument({ description: 'the file', required: true }) }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.audit.adopt/1', async () => {
      const { args, flags } = await this.parse(AuditAdopt)
      const { home, audit } = await openWorkspace(flags)
      const file = resolve(args.file)
      if (flags['dry-run']) return { data: { file, adopted: false }, lines: [`would adopt ${file}`] }
      const done = await adoptLog(home.audit, audit, file)
      return {
        data: {
          file,
          adopted: true,
          entries: done.entries,
          kept: done.kept,
          head: `${done.head.seq}:${done.head.head}`,
        },
        lines: [
          `${done.entries} entries adopted, kept as ${done.kept}`,
          `head  ${done.head.seq}:${done.head.head}`,
        ],
      }
    })
  }
}
