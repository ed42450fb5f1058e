import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { exportLog, type ExportCounts } from '../../src/audit/export-log.ts'
import { KvxError } from '../../src/core/errors.ts'
import { openWorkspace, type Workspace } from '../../src/keyring/workspace.ts'
import { collectEvidence } from '../../src/migration/evidence.ts'
import { Journal } from '../../src/migration/journal.ts'
import { createFile } from '../../src/platform/create-file.ts'
import { writeStdout, writeStreamed } from '../../src/platform/stream-file.ts'
import { evidenceMarkdown } from '../../src/ui/evidence-markdown.ts'
import { evidencePdf } from '../../src/ui/evidence-pdf.ts'
import { evidenceSections } from '../../src/ui/evidence-view.ts'
import { KvxCommand, type Outcome } from '../_program/kvx-command.ts'

export default class AuditExport extends KvxCommand {
  static override summary = 'Give out the log and the signed documents, for programs or for people.'
  static override description = [
    '`jsonl` is the log byte for byte, a signed entry a line, and behind it a line for each report and certificate: `kvx audit verify FILE --public-key audit.pub` checks all of it anywhere.',
    '`markdown` and `pdf` are one report for people: the keys by the phases of NIST SP 800-57, the facts beside the numbers of PCI DSS 3.6 and 3.7, in kvx’s own words. It states facts and claims no compliance.',
    'No key and no value is in any of them.',
  ].join('\n\n')
  static override examples = [
    {
      description: 'Everything, to be verified elsewhere',
      command: '<%= config.bin %> audit export --out evidence.jsonl',
    },
    {
      description: 'A report for an auditor',
      command: '<%= config.bin %> audit export --format pdf --out keys.pdf',
    },
    { description: 'Into a pipe', command: '<%= config.bin %> audit export | tail -n 5' },
  ]
  static override flags = {
    format: Flags.option({
      description: 'for programs, or for people',
      options: ['jsonl', 'markdown', 'pdf'] as const,
      default: 'jsonl' as const,
    })(),
    out: Flags.string({
      description: 'the file to write, never over another one; standard output without it',
      helpValue: 'FILE',
    }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.audit.export/1', async () => {
      const { flags } = await this.parse(AuditExport)
      const { format, out } = flags
      if (out === undefined && (flags.json || format === 'pdf')) throw needsFile(format)
      const workspace = await openWorkspace(flags)
      if (flags['dry-run']) {
        return { data: { format, file: null }, lines: [`would write ${out ?? 'to standard output'}`] }
      }
      return format === 'jsonl' ? exportLines(workspace, out) : exportReport(workspace, format, out)
    })
  }
}

function needsFile(format: string): KvxError {
  return new KvxError('USAGE', `${format === 'pdf' ? 'a PDF' : 'an export beside --json'} needs a file`, {
    hint: 'Name it: `--out FILE`.',
  })
}

async function exportLines(workspace: Workspace, out: string | undefined): Promise<Outcome> {
  const { home } = workspace
  if (out === undefined) {
    await exportLog(home, writeStdout)
    return { data: {}, lines: [] }
  }
  const hash = createHash('sha256')
  let counts: ExportCounts = { entries: 0, documents: 0 }
  await writeStreamed(out, {
    expected: undefined,
    access: { mode: 0o600 },
    fill: async ({ write }) => {
      counts = await exportLog(home, async (bytes) => {
        hash.update(bytes)
        await write(bytes)
      })
    },
  })
  return {
    data: { format: 'jsonl', file: resolve(out), ...counts, sha256: hash.digest('hex') },
    lines: [
      `${counts.entries} entries and ${counts.documents} signed documents`,
      `wrote  ${out}`,
      `Next: kvx audit verify ${out} --public-key audit.pub`,
    ],
  }
}

async function exportReport(
  workspace: Workspace,
  format: 'markdown' | 'pdf',
  out: string | undefined,
): Promise<Outcome> {
  const journal = Journal.open(workspace.home, { look: true })
  try {
    const evidence = await collectEvidence(workspace, journal)
    const sections = evidenceSections(evidence)
    const bytes =
      format === 'markdown' ? Buffer.from(evidenceMarkdown(sections)) : await evidencePdf(sections)
    if (out === undefined) {
      await writeStdout(bytes)
      return { data: {}, lines: [] }
    }
    await createFile(resolve(out), bytes, { mode: 0o600 })
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    return { data: { format, file: resolve(out), sha256 }, lines: [`wrote  ${out}`, `sha256  ${sha256}`] }
  } finally {
    journal.close()
  }
}
