import type { BackupList, StoredBackup } from '../backup/backups.ts'
import { receiptCommand } from '../backup/create.ts'
import type { Recipient } from '../backup/recipients.ts'
import { columns } from './columns.ts'

/** `data` of `kvx.backup.create/1`, and of one entry of `kvx.backup.list/1`. */
export function backupData(backup: StoredBackup): object {
  const { manifest, path } = backup
  return {
    id: manifest.id,
    name: manifest.name,
    version: manifest.version,
    file: path,
    recipients: manifest.recipients.map(({ fingerprint, userId, expires }) => ({
      fingerprint,
      userId,
      expires,
    })),
    tested: manifest.state === 'tested' || manifest.testedAt !== null,
    state: manifest.state,
    fingerprint: manifest.fingerprint,
    checkValue: manifest.checkValue,
    created: manifest.created,
  }
}

export function recipientLines(recipients: readonly Recipient[]): readonly string[] {
  return columns(
    recipients.map(({ userId, fingerprint, expires, daysLeft }) => [
      userId,
      fingerprint,
      expires === null ? 'does not expire' : `expires ${expires.slice(0, 10)} (${daysLeft ?? 0} days)`,
    ]),
    '  ',
  )
}

export function createdLines(backup: StoredBackup, recipients: readonly Recipient[]): readonly string[] {
  const { manifest, path } = backup
  const subject = `${manifest.name}@${manifest.version}`
  const head = [
    `backup ${manifest.id} of ${subject} (check value ${manifest.checkValue}): ${manifest.state}`,
    ...recipientLines(recipients),
    `  ${path}`,
  ]
  if (manifest.state !== 'untested') return [...head, 'Keep a copy away from this machine.']
  return [
    ...head,
    `Next: a recipient runs \`${receiptCommand(path)}\` and reads the code out; then kvx backup confirm ${manifest.id}`,
  ]
}

export function backupTable(list: BackupList): readonly string[] {
  if (list.backups.length === 0) return ['no backups yet', 'Next: kvx backup create NAME']
  return columns([
    ['backup', 'key', 'state', 'check value', 'made', 'recipients'],
    ...list.backups.map(({ manifest }) => [
      manifest.id,
      `${manifest.name}@${manifest.version}`,
      manifest.state,
      manifest.checkValue,
      manifest.created.slice(0, 10),
      String(manifest.recipients.length),
    ]),
  ])
}
