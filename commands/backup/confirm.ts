import { Flags } from '@oclif/core'
import { withIntent } from '../../src/audit/with-intent.ts'
import { confirmBackup } from '../../src/backup/confirm.ts'
import { acceptUnconfirmed, confirmShare } from '../../src/backup/shares/confirm-share.ts'
import { findShareSet } from '../../src/backup/shares/share-sets.ts'
import { KvxError } from '../../src/core/errors.ts'
import { refreshCopy } from '../../src/keyring/keyring.ts'
import { openWorkspace, type Workspace } from '../../src/keyring/workspace.ts'
import { currentActor } from '../../src/platform/actor.ts'
import { acquireLock } from '../../src/platform/lock.ts'
import { backupData } from '../../src/ui/backup-view.ts'
import { type Answers, askLine } from '../../src/ui/prompts.ts'
import { confirmedLines, shareSetData } from '../../src/ui/share-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand, type Outcome } from '../_program/kvx-command.ts'
import { answersOf, checkedReason } from '../_program/run-flags.ts'

export default class BackupConfirm extends KvxCommand {
  static override summary =
    'Record that a recipient or a custodian proved a backup by reading a receipt back.'
  static override description =
    'The receipt is a code inside the encrypted backup; it tells nothing about the key. For a share it is what `kvx share verify` prints; when the last share is confirmed, the set counts as a backup. Case, dashes and spaces do not matter.'
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
      description: 'A set becomes active without share 4; recorded and signed',
      command: '<%= config.bin %> backup confirm KVXDEM --accept-unconfirmed 4 --reason "on leave until May"',
    },
  ]
  static override args = {
    id: argument({ description: 'the backup or share set, as `kvx backup list` names it', required: true }),
  }
  static override flags = {
    receipt: Flags.string({ description: 'the code that the recipient read out', helpValue: 'CODE' }),
    index: Flags.integer({ description: 'which share of the set', min: 1, max: 32, helpValue: 'I' }),
    'accept-unconfirmed': Flags.string({
      description: 'shares that nobody confirmed, all of them, by name; needs --reason',
      helpValue: 'I,J',
      dependsOn: ['reason'],
      exclusive: ['index', 'receipt'],
    }),
    reason: Flags.string({ description: 'why; recorded and signed', helpValue: 'TEXT' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.backup.confirm/1', async () => {
      const { args, flags } = await this.parse(BackupConfirm)
      const workspace = await openWorkspace(flags)
      const isSet = (await findShareSet(workspace.home.backups, args.id)) !== undefined
      if (isSet || flags.index !== undefined || flags['accept-unconfirmed'] !== undefined) {
        return await confirmSet(workspace, { ...flags, id: args.id }, answersOf(flags))
      }
      const code =
        flags.receipt ??
        (await askLine('Receipt, as the recipient reads it:', answersOf(flags), '--receipt CODE'))
      const lock = await acquireLock(workspace.home.backups, 'the backups', { waitMs: 10_000 })
      try {
        const home = { directory: workspace.home.backups, signer: workspace.signer, verify: workspace.verify }
        const intent = { action: 'backup.confirm', data: { backup: args.id.slice(0, 40) } }
        const backup = await withIntent(workspace.audit, intent, async () =>
          confirmBackup(home, args.id, { code, by: currentActor() }),
        )
        await refreshCopy(workspace.home)
        const { manifest } = backup
        return {
          data: backupData(backup),
          lines: [
            `backup ${manifest.id} of ${manifest.name}@${manifest.version} is confirmed`,
            `Next: kvx run list shows whether a rotation waited for it; kvx rotate ${manifest.name} --activate goes on`,
          ],
        }
      } finally {
        lock.release()
      }
    })
  }
}

type SetFlags = {
  readonly id: string
  readonly index?: number | undefined
  readonly receipt?: string | undefined
  readonly 'accept-unconfirmed'?: string | undefined
  readonly reason?: string | undefined
}

/** One share by its receipt, or a set whose last custodians cannot be asked. */
async function confirmSet(workspace: Workspace, flags: SetFlags, answers: Answers): Promise<Outcome> {
  const { id, index, 'accept-unconfirmed': accepted } = flags
  const reason = accepted === undefined ? '' : checkedReason(flags.reason)
  const by = currentActor()
  const indices = accepted?.split(',').map((part) => Number(part.trim()))
  if (indices === undefined && index === undefined) {
    throw new KvxError('USAGE', 'this is a share set: say which share is confirmed', {
      hint: 'Add `--index I`; `kvx backup list --json` names the custodians.',
    })
  }
  const receipt =
    indices === undefined
      ? (flags.receipt ?? (await askLine('Receipt, as the custodian reads it:', answers, '--receipt CODE')))
      : ''
  const lock = await acquireLock(workspace.home.backups, 'the backups', { waitMs: 10_000 })
  try {
    const home = { directory: workspace.home.backups, signer: workspace.signer, verify: workspace.verify }
    const facts = indices === undefined ? { index: index ?? 0 } : { accepted: indices.map(String), reason }
    const intent = { action: 'backup.confirm', data: { set: id.slice(0, 40), ...facts } }
    const stored = await withIntent(workspace.audit, intent, async () =>
      indices === undefined
        ? confirmShare(home, id, { index: index ?? 0, receipt, by })
        : acceptUnconfirmed(home, id, { indices, reason, by }),
    )
    await refreshCopy(workspace.home)
    return { data: shareSetData(stored), lines: confirmedLines(stored, index) }
  } finally {
    lock.release()
  }
}
