import * as Flags from '@oclif/core/flags'
import { withIntent } from '../../src/audit/with-intent.ts'
import type { Facts } from '../../src/audit/entry.ts'
import { type BackupHome, confirmBackup } from '../../src/backup/confirm.ts'
import {
  acceptUnconfirmed,
  attestDestroyed,
  confirmShare,
  openSet,
  type ShareHome,
} from '../../src/backup/shares/confirm-share.ts'
import { findShareSet, type StoredShareSet } from '../../src/backup/shares/share-sets.ts'
import { readSignedReceipt } from '../../src/approvals/share-receipt.ts'
import { shownSet } from '../../src/backup/shares/share-set.ts'
import { KvxError } from '../../src/core/errors.ts'
import { shareHomeOf, withBackupsLocked } from '../../src/keyring/hand-over.ts'
import { refreshCopy } from '../../src/keyring/keyring.ts'
import { openWorkspace, type Workspace } from '../../src/keyring/workspace.ts'
import { currentActor } from '../../src/platform/actor.ts'
import { backupData } from '../../src/ui/backup-view.ts'
import { type Answers, askLine } from '../../src/ui/prompts.ts'
import { confirmedLines, destroyedLines, shareSetData } from '../../src/ui/share-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand, type Outcome } from '../_program/kvx-command.ts'
import { answersOf, checkedReason } from '../_program/run-flags.ts'

export default class BackupConfirm extends KvxCommand {
  static override summary =
    'Record that a recipient or a custodian proved a backup by reading a receipt back.'
  static override description =
    'The receipt is a code inside the encrypted backup; it tells nothing about the key. For a share it is what `kvx share verify` prints, or the signed receipt that it writes; when the last share is confirmed, the set counts as a backup. Case, dashes and spaces do not matter.'
  static override examples = [
    { description: 'Typed at the prompt', command: '<%= config.bin %> backup confirm B7K2M9' },
    {
      description: 'In one line',
      command: '<%= config.bin %> backup confirm B7K2M9 --receipt 20QH-UMYA-NKS3-6YQF',
    },
    {
      description: 'The custodian of share 2',
      command: '<%= config.bin %> backup confirm KVXDEM --index 2 --receipt 20QH-5MYA-NKS3-6YQF',
    },
    {
      description: 'The custodian sent a signed receipt; its signature lies beside it',
      command: '<%= config.bin %> backup confirm KVXDEM --receipt-file receipt.json',
    },
    {
      description: 'Two custodians of a superseded set destroyed their shares',
      command: '<%= config.bin %> backup confirm KVXDEM --destroyed 1,3',
    },
    {
      description: 'A set becomes active without share 3; recorded and signed',
      command: '<%= config.bin %> backup confirm KVXDEM --accept-unconfirmed 3 --reason "on leave until May"',
    },
  ]
  static override args = {
    id: argument({ description: 'the backup or share set, as `kvx backup list` names it', required: true }),
  }
  static override flags = {
    receipt: Flags.string({ description: 'the code that the recipient read out', helpValue: 'CODE' }),
    'receipt-file': Flags.string({
      description:
        'the receipt that a custodian signed: `kvx share verify --receipt FILE --sign KEY` wrote it',
      helpValue: 'FILE',
      exclusive: ['receipt'],
    }),
    'key-file': Flags.string({
      description: 'a file with the custodian’s public OpenPGP key; else gpg’s keyring has it',
      helpValue: 'FILE',
      dependsOn: ['receipt-file'],
    }),
    index: Flags.integer({ description: 'which share of the set', min: 1, max: 32, helpValue: 'I' }),
    'accept-unconfirmed': Flags.string({
      description: 'shares that nobody confirmed, all of them, by name; needs --reason',
      helpValue: 'I,J',
      dependsOn: ['reason'],
      exclusive: ['index', 'receipt', 'receipt-file'],
    }),
    destroyed: Flags.string({
      description: 'shares of a superseded set that their custodians destroyed',
      helpValue: 'I,J',
      exclusive: ['index', 'receipt', 'receipt-file', 'accept-unconfirmed'],
    }),
    reason: Flags.string({ description: 'why; recorded and signed', helpValue: 'TEXT' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.backup.confirm/1', async () => {
      const { args, flags } = await this.parse(BackupConfirm)
      const workspace = await openWorkspace(flags)
      const answers = answersOf(flags)
      const isSet = (await findShareSet(workspace.home.backups, args.id)) !== undefined
      const named = [flags.index, flags['receipt-file'], flags['accept-unconfirmed'], flags.destroyed]
      const request = { ...flags, id: args.id, dryRun: flags['dry-run'] }
      return isSet || named.some((value) => value !== undefined)
        ? await confirmSet(workspace, request, answers)
        : await confirmMessage(workspace, request, answers)
    })
  }
}

type Request = {
  readonly id: string
  readonly dryRun: boolean
  readonly index?: number | undefined
  readonly receipt?: string | undefined
  readonly 'receipt-file'?: string | undefined
  readonly 'key-file'?: string | undefined
  readonly destroyed?: string | undefined
  readonly 'accept-unconfirmed'?: string | undefined
  readonly reason?: string | undefined
}

/** An OpenPGP backup, by the receipt that a recipient read in it. */
async function confirmMessage(workspace: Workspace, request: Request, answers: Answers): Promise<Outcome> {
  const code =
    request.receipt ?? (await askLine('Receipt, as the recipient reads it:', answers, '--receipt CODE'))
  const facts = { backup: request.id.slice(0, 40) }
  const backup = await recorded(workspace, { ...request, facts }, async (home) =>
    confirmBackup(home, request.id, { code, by: currentActor() }),
  )
  const { manifest } = backup
  const named = `backup ${manifest.id} of ${manifest.name}@${manifest.version}`
  if (request.dryRun) return { data: backupData(backup), lines: [`${named} would be confirmed`, dryRun] }
  return {
    data: backupData(backup),
    lines: [
      `${named} is confirmed`,
      `Next: kvx run list shows whether a rotation waited for it; kvx rotate ${manifest.name} --activate goes on`,
    ],
  }
}

const dryRun = 'dry run: nothing was written'

/** One share by its receipt, a set whose last custodians cannot be asked, or shares that were destroyed. */
async function confirmSet(workspace: Workspace, request: Request, answers: Answers): Promise<Outcome> {
  const { id, index } = request
  const by = currentActor()
  const set = id.slice(0, 40)
  if (request.destroyed !== undefined) {
    const indices = numbers(request.destroyed)
    const facts = { set, destroyed: indices.map(String) }
    const stored = await recorded(workspace, { ...request, facts }, async (home) =>
      attestDestroyed(home, id, { indices, by }),
    )
    return outcomeOf(stored, destroyedLines(stored), request)
  }
  if (request['accept-unconfirmed'] !== undefined) {
    const reason = checkedReason(request.reason)
    const indices = numbers(request['accept-unconfirmed'])
    const facts = { set, accepted: indices.map(String), reason }
    const stored = await recorded(workspace, { ...request, facts }, async (home) =>
      acceptUnconfirmed(home, id, { indices, reason, by }),
    )
    return outcomeOf(stored, confirmedLines(stored, undefined), request)
  }
  const file = request['receipt-file']
  if (file !== undefined) return confirmSigned(workspace, request, file)
  if (index === undefined) {
    throw new KvxError('USAGE', 'this is a share set: say which share is confirmed', {
      hint: 'Add `--index I`, or `--receipt-file FILE`; `kvx backup list --json` names the custodians.',
    })
  }
  const receipt =
    request.receipt ?? (await askLine('Receipt, as the custodian reads it:', answers, '--receipt CODE'))
  const stored = await recorded(workspace, { ...request, facts: { set, index } }, async (home) =>
    confirmShare(home, id, { index, receipt, by }),
  )
  return outcomeOf(stored, confirmedLines(stored, index), request)
}

/** One share by a receipt that its custodian signed. */
async function confirmSigned(workspace: Workspace, request: Request, file: string): Promise<Outcome> {
  const { set } = await openSet(shareHomeOf(workspace), request.id)
  const { config } = workspace
  const { statement, bytes, approval } = await readSignedReceipt(file, {
    set,
    config,
    keyFile: request['key-file'],
  })
  const { index, receipt } = statement
  if (request.index !== undefined && request.index !== index) {
    throw new KvxError('USAGE', `the receipt is that of share ${index}, not of ${request.index}`, {
      hint: 'Leave out `--index`, or take the other receipt. Nothing was written.',
    })
  }
  const { kind, fingerprint } = approval
  const signed = { by: fingerprint, kind, statement: bytes, signature: approval.bytes }
  const facts = { set: shownSet(set), index, signedBy: fingerprint }
  const stored = await recorded(workspace, { ...request, facts }, async (home) =>
    confirmShare(home, request.id, { index, receipt, by: currentActor(), signed }),
  )
  const lines = [`signed by ${approval.approver}, ${fingerprint}`, ...confirmedLines(stored, index)]
  return outcomeOf(stored, lines, request)
}

function outcomeOf(stored: StoredShareSet, lines: readonly string[], request: Request): Outcome {
  return { data: shareSetData(stored), lines: request.dryRun ? [...lines, dryRun] : lines }
}

function numbers(list: string): readonly number[] {
  return list.split(',').map((part) => Number(part.trim()))
}

/** In the log and under the lock; a dry run looks alone. */
async function recorded<T>(
  workspace: Workspace,
  { facts, dryRun }: { readonly facts: Facts; readonly dryRun: boolean },
  work: (home: ShareHome & BackupHome) => Promise<T>,
): Promise<T> {
  const home = { ...shareHomeOf(workspace), dryRun }
  if (dryRun) return work(home)
  return withBackupsLocked(workspace, async () => {
    const done = await withIntent(workspace.audit, { action: 'backup.confirm', data: facts }, async () =>
      work(home),
    )
    await refreshCopy(workspace.home)
    return done
  })
}
