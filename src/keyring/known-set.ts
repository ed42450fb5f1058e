import { openSet } from '../backup/shares/confirm-share.ts'
import { type ShareSet, verifyShareSet } from '../backup/shares/share-set.ts'
import { findShareSet, listShareSets, type StoredShareSet } from '../backup/shares/share-sets.ts'
import { KvxError } from '../core/errors.ts'
import { shareHomeOf } from './hand-over.ts'
import { keyOf, parseSubject, readKeyring } from './keyring.ts'
import type { Workspace } from './workspace.ts'

/** Sets of a key that still count or may come to count, as this home signed them. Newest last. */
export async function livingSets(
  workspace: Workspace,
  name: string,
  version: number,
): Promise<readonly StoredShareSet[]> {
  const { sets } = await listShareSets(workspace.home.backups)
  return sets.filter(
    (stored) =>
      stored.set.name === name &&
      stored.set.version === version &&
      (stored.set.state === 'active' || stored.set.state === 'pending') &&
      verifyShareSet(stored, workspace.verify) === 'valid',
  )
}

/**
 * The set that a person means by its id, or by NAME or NAME@VERSION of the key: then the active one.
 * @throws KvxError BACKUP_UNKNOWN, DAMAGED, STATE_TRANSITION, KEY_UNKNOWN
 */
export async function meantSet(workspace: Workspace, text: string): Promise<StoredShareSet> {
  if ((await findShareSet(workspace.home.backups, text)) !== undefined) {
    return openSet(shareHomeOf(workspace), text)
  }
  const { name, version } = parseSubject(text)
  const wanted = version ?? keyOf(await readKeyring(workspace.home), name).seals
  const sets = wanted === null ? [] : await livingSets(workspace, name, wanted)
  const found = sets.filter(({ set }) => set.state === 'active').at(-1) ?? sets.at(-1)
  if (found !== undefined) return found
  throw new KvxError(
    'BACKUP_UNKNOWN',
    `there is no share set of ${name}${version === undefined ? '' : `@${version}`} that counts`,
    {
      hint: `\`kvx backup list ${name}\` shows what there is; \`kvx backup split ${name}\` makes one.`,
    },
  )
}

/** The numbers of the set that counts, for a training; two of three without one. @throws KvxError KEY_UNKNOWN */
export async function trainingNumbers(
  workspace: Workspace,
  subject: string,
): Promise<{ readonly threshold: number; readonly of: number }> {
  const { name, version } = parseSubject(subject)
  const wanted = version ?? keyOf(await readKeyring(workspace.home), name).seals
  const sets = wanted === null ? [] : await livingSets(workspace, name, wanted)
  const { threshold = 2, of = 3 } = sets.at(-1)?.set ?? {}
  return { threshold, of }
}

/** What log entries and messages name a set by. */
export function subjectOf(set: Pick<ShareSet, 'name' | 'version'>): string {
  return `${set.name}@${set.version}`
}

/** People and numbers of a set, to be used once more. */
export function planOfSet(set: ShareSet): {
  readonly threshold: number
  readonly of: number
  readonly custodians: readonly { readonly name: string; readonly openpgp: string | undefined }[]
} {
  const custodians = set.shares.map(({ custodian, openpgp }) => ({
    name: custodian,
    openpgp: openpgp ?? undefined,
  }))
  return { threshold: set.threshold, of: set.of, custodians }
}
