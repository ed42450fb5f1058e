import * as Flags from '@oclif/core/flags'
import { readPublicKeyFile, verifyEvidence, verifyHome } from '../../src/audit/verify-evidence.ts'
import type { AuditVerdict } from '../../src/audit/verify-audit.ts'
import { KvxError } from '../../src/core/errors.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { auditVerdictLines } from '../../src/ui/audit-view.ts'
import { optionalArgument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class AuditVerify extends KvxCommand {
  static override summary =
    'Check every entry of the log, every report and certificate: numbers, chain, signatures.'
  static override description = [
    'A changed byte, a dropped or moved entry, a report or certificate that was changed, replaced or taken away: each is found and located. A cut-off end can be noticed only against a head that was kept elsewhere: on a report, a certificate, a card, or given by --expect-head.',
    'With a PATH and --public-key it needs neither home nor configuration: a copy of a home, of audit/ or of log.jsonl, an export of `kvx audit export`, or one report or certificate. The public key is audit.pub; compare its fingerprint with what `kvx init` printed.',
  ].join('\n\n')
  static override examples = [
    { description: 'This home', command: '<%= config.bin %> audit verify' },
    {
      description: 'An export, on the auditor’s machine',
      command: '<%= config.bin %> audit verify evidence.jsonl --public-key audit.pub',
    },
    {
      description: 'Against a head from a report',
      command: '<%= config.bin %> audit verify --expect-head 42:0123…',
    },
  ]
  static override args = {
    path: optionalArgument({ description: 'what was taken away from a home; this home without it' }),
  }
  static override flags = {
    'public-key': Flags.string({
      description: 'public keys to trust, as in audit.pub; those of the home without it',
      helpValue: 'FILE',
    }),
    'expect-head': Flags.string({
      description: 'a head that was kept elsewhere, SEQ:HEX',
      helpValue: 'HEAD',
    }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.audit.verify/1', async () => {
      const { args, flags } = await this.parse(AuditVerify)
      const verdict = await verdictOf(args.path, flags)
      const { problems, problemCount, entries, head, warnings, documents } = verdict
      return {
        data: { entries, head: `${head.seq}:${head.head}`, problems, problemCount, documents },
        lines: auditVerdictLines(verdict),
        warnings,
        ...(problemCount === 0 ? {} : { failure: broken(problemCount) }),
      }
    })
  }
}

type VerifyFlags = {
  readonly config: string | undefined
  readonly home: string | undefined
  readonly 'public-key': string | undefined
  readonly 'expect-head': string | undefined
}

async function verdictOf(path: string | undefined, flags: VerifyFlags): Promise<AuditVerdict> {
  const { 'public-key': keyFile, 'expect-head': expected } = flags
  const head = expected === undefined ? {} : { expectedHead: expected }
  const publicKeys = keyFile === undefined ? undefined : await readPublicKeyFile(keyFile)
  if (path === undefined) {
    const { home } = await openWorkspace(flags)
    return verifyHome(home, { ...head, ...(publicKeys && { publicKeys }) })
  }
  if (publicKeys !== undefined) return verifyEvidence(path, { ...head, publicKeys })
  throw new KvxError('USAGE', 'what was taken away from a home is verified with its public key', {
    hint: 'Give the file that was kept: `--public-key audit.pub`. A key that lies beside the log proves nothing.',
  })
}

function broken(count: number): KvxError {
  return new KvxError('AUDIT_BROKEN', `the evidence has ${count} ${count === 1 ? 'problem' : 'problems'}`, {
    hint: 'Keep the file as evidence, and compare it with a copy and with the heads on reports.',
  })
}
