import type { Destroyed, Scheduled } from '../migration/destroy.ts'
import type { LedgerEntry } from '../migration/ledger.ts'

export function scheduledLines(label: string, { due, ledger }: Scheduled): readonly string[] {
  return [
    `${label} will be destroyed at the first \`kvx destroy --due\` after ${due}`,
    ...ledgerLines(ledger),
    `Until then: kvx destroy ${label} --cancel`,
  ]
}

function ledgerLines(ledger: readonly LedgerEntry[]): readonly string[] {
  return ledger.map(
    ({ message, settle }) => `  it waits: ${message}${settle === undefined ? '' : ` (${settle})`}`,
  )
}

export function destroyedData(done: Destroyed): object {
  const { subject, erased, copies } = done
  return { subject, erased: erased ?? null, backupsThatHoldIt: copies.map(({ path }) => path) }
}

const kindWords = { openpgp: 'OpenPGP backup', shares: 'share set', 'home-copy': 'copy of the home' } as const

/** What was done, and honestly what was not. */
export function destroyedLines(done: Destroyed): readonly string[] {
  const { subject, erased, copies } = done
  return [
    `${subject} is destroyed: its last full scan found nothing that needs it`,
    erased === undefined ? 'its key file was gone already' : overwriting(erased),
    ...(copies.length === 0
      ? []
      : [
          'These still hold the key. Until they and their copies elsewhere are destroyed, it exists:',
          ...copies.map(({ kind, path }) => `  ${kindWords[kind]}  ${path}`),
        ]),
  ]
}

function overwriting(erased: NonNullable<Destroyed['erased']>): string {
  const where = `the key file was overwritten once and removed from ${erased.fileSystem}`
  return erased.inPlace
    ? `${where}; flash, snapshots, a data journal and copies elsewhere may still hold its bytes`
    : `${where}, which does not overwrite in place: its old bytes may still lie on the medium`
}
