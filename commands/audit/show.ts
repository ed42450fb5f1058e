import * as Flags from '@oclif/core/flags'
import type { AuditEntry } from '../../src/audit/entry.ts'
import { readAudit } from '../../src/audit/read-audit.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { auditLine } from '../../src/ui/audit-view.ts'
import type { Warning } from '../_program/document.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class AuditShow extends KvxCommand {
  static override summary = 'Show the log: who did what to which key, and how it ended.'
  static override examples = [
    { description: 'The last 20 entries', command: '<%= config.bin %> audit show' },
    {
      description: 'Everything of one run',
      command: '<%= config.bin %> audit show --run 20260101T000000Z-abc123',
    },
    { description: 'Every change of keys', command: '<%= config.bin %> audit show --action key --last 1000' },
  ]
  static override flags = {
    last: Flags.integer({ description: 'the last so many entries', default: 20, min: 1, helpValue: 'N' }),
    action: Flags.string({
      description: 'an action or its first part, e.g. key or run.rewrap',
      helpValue: 'ACTION',
    }),
    run: Flags.string({ description: 'entries of one run', helpValue: 'ID' }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.audit.show/1', async () => {
      const { flags } = await this.parse(AuditShow)
      const { home, audit } = await openWorkspace(flags)
      const warnings: Warning[] = []
      const entries: AuditEntry[] = []
      const query = {
        last: flags.last,
        ...(flags.action === undefined ? {} : { action: flags.action }),
        ...(flags.run === undefined ? {} : { run: flags.run }),
        onUnreadable: (line: number, why: string) =>
          warnings.push({ code: 'AUDIT_BROKEN', message: `line ${line} of the log is no entry: ${why}` }),
      }
      for await (const entry of readAudit(home.audit, query)) entries.push(entry)
      const head = await audit.head()
      return {
        data: { entries, head: `${head.seq}:${head.head}` },
        lines: [...entries.map(auditLine), `head  ${head.seq}:${head.head}`],
        warnings,
      }
    })
  }
}
