import type { Destroyed } from '../migration/destroy.ts'
import type { LedgerEntry } from '../migration/ledger.ts'

export function ledgerLines(ledger: readonly LedgerEntry[]): readonly string[] {
  return ledger.map(
    ({ message, settle }) => `  it waits: ${message}${settle === undefined ? '' : ` (${settle})`}`,
  )
}

export function destroyedData(done: Destroyed): object {
  const { subject, erased, backups } = done
  return { subject, erased: erased ?? null, backupsThatHoldIt: backups }
}

/** What was done, and honestly what was not. */
export function destroyedLines(done: Destroyed): readonly string[] {
  const { subject, erased, backups } = done
  return [
    `${subject} is destroyed: its last full scan found nothing that needs it`,
    ...(erased === undefined ? [] : [overwriting(erased)]),
    ...(backups.length === 0
      ? []
      : [
          'These backups still hold the key. Until they and their copies are destroyed, it exists:',
          ...backups.map((path) => `  ${path}`),
        ]),
  ]
}

function overwriting(erased: NonNullable<Destroyed['erased']>): string {
  const where = `the key file was overwritten once and removed from ${erased.fileSystem}`
  return erased.inPlace
    ? `${where}; flash, snapshots, a data journal and copies elsewhere may still hold its bytes`
    : `${where}, which does not overwrite in place: its old bytes may still lie on the medium`
}
