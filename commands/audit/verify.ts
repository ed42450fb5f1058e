import { Flags } from '@oclif/core'
import { verifyAudit } from '../../src/audit/verify-audit.ts'
import { KvxError } from '../../src/core/errors.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class AuditVerify extends KvxCommand {
  static override summary = 'Check every entry of the log: numbers, chain, signatures.'
  static override description =
    'A changed, dropped or moved entry is found and located. A cut-off tail can be noticed only against a head that was kept elsewhere (a report, a card): --expect-head.'
  static override examples = [
    { description: 'The log of this home', command: '<%= config.bin %> audit verify' },
    {
      description: 'Against a head from a report',
      command: '<%= config.bin %> audit verify --expect-head 42:0123…',
    },
  ]
  static override flags = {
    'expect-head': Flags.string({
      description: 'a head that was kept elsewhere, SEQ:HEX',
      helpValue: 'HEAD',
    }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.audit.verify/1', async () => {
      const { flags } = await this.parse(AuditVerify)
      const { home } = await openWorkspace(flags)
      const expected = flags['expect-head']
      const verdict = await verifyAudit(home.audit, expected === undefined ? {} : { expectedHead: expected })
      const { problems, problemCount, entries, head, warnings } = verdict
      const broken = problemCount > 0
      return {
        data: { entries, head: `${head.seq}:${head.head}`, problems, problemCount },
        lines: [
          ...problems.slice(0, 20).map(({ line, code, message }) => `line ${line}  ${code}  ${message}`),
          broken
            ? `${problemCount} problems in ${entries} entries`
            : `${entries} entries: numbers, chain and signatures are right`,
          `head  ${head.seq}:${head.head}`,
        ],
        warnings,
        ...(broken
          ? {
              failure: new KvxError(
                'AUDIT_BROKEN',
                `the audit log has ${problemCount} ${problemCount === 1 ? 'problem' : 'problems'}`,
                {
                  hint: 'Keep the file as evidence, and compare it with a copy and with the heads on reports.',
                },
              ),
            }
          : {}),
      }
    })
  }
}
