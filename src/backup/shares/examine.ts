import { KvxError } from '../../core/errors.ts'
import { shareProblem } from '../../core/share/recombine.ts'
import { type Share, shareDigest } from '../../core/share/share-text.ts'
import type { BackupWarning } from '../errors.ts'
import { type DealtShare, type ShareSet, type SignedShareSet, shownSet, verifyShareSet } from './share-set.ts'
import { readShareSet } from './share-sets.ts'

/**
 * Compares a share with the manifest of its set: set, numbers, check value, then the digest of its very text.
 * @throws KvxError BACKUP_UNUSABLE naming what differs
 */
export function requireDealt(share: Share, set: ShareSet): DealtShare {
  const { index } = share
  const shown = share.setId.toUpperCase()
  if (share.setId !== set.set) {
    const message = `share ${index} is of set ${shown}, the manifest is that of ${shownSet(set)}`
    throw shareProblem('set', index, message, 'take the manifest and the share of one set')
  }
  const dealt = set.shares.find((one) => one.index === index)
  const isRight =
    dealt !== undefined &&
    share.of === set.of &&
    share.threshold === set.threshold &&
    share.checkValue === set.checkValue &&
    shareDigest(share) === dealt.digest
  if (isRight) return dealt
  const message = `share ${index} is not the share that was dealt in set ${shown}: its digest differs`
  throw shareProblem(
    'digest',
    index,
    message,
    'it was forged or made by something else; take another custodian’s',
  )
}

/**
 * A manifest that came along with a share, judged by itself: nobody changed it since the key in it signed it.
 * @throws KvxError FILE_NOT_FOUND; DAMAGED when it was changed
 */
export async function readTravellingManifest(
  path: string,
): Promise<SignedShareSet & { readonly warnings: readonly BackupWarning[] }> {
  const signed = await readShareSet(path)
  const verdict = verifyShareSet(signed, undefined)
  if (verdict === 'invalid') {
    throw new KvxError('DAMAGED', 'the manifest was changed after it was signed', {
      hint: 'take another copy: every custodian got one',
    })
  }
  const warnings: BackupWarning[] =
    verdict === 'unsigned' ? [{ code: 'MANIFEST_UNSIGNED', message: 'the manifest is not signed' }] : []
  return { ...signed, warnings }
}
