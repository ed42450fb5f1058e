import { join } from 'node:path'
import { KvxError } from '../../core/errors.ts'
import type { Share } from '../../core/share/share-text.ts'
import { shownPath } from '../../platform/file-errors.ts'
import { exists } from '../../platform/files.ts'
import { sha256Hex } from '../backups.ts'
import { readBackup } from '../gpg.ts'
import type { Recipient } from '../recipients.ts'
import { encryptToRecipients } from '../seal.ts'
import { encodeLetter, type LetterFacts } from './share-letter.ts'
import type { DealtShare } from './share-set.ts'
import { writeSetFile } from './share-sets.ts'

/** What the manifest says of the way in which a share left. */
export type Sent = Pick<DealtShare, 'openpgp' | 'subkey' | 'expires' | 'file' | 'sha256'>

/** A share that was handed over: no file, no key. */
export const byHand: Sent = { openpgp: null, subkey: null, expires: null, file: null, sha256: null }

/**
 * One file for one person: encrypted to exactly one key, durable and read back when this returns. A file that is
 * there is never replaced: the next one has a number.
 * @throws KvxError RECIPIENT_UNUSABLE, BACKUP_UNUSABLE, READ_BACK_FAILED, or of the file
 */
export async function sendShare(
  share: Share,
  facts: LetterFacts,
  recipient: Recipient,
  folder: string,
): Promise<Sent> {
  const letter = encodeLetter(share, facts)
  const sealed = await encryptToRecipients(letter, [recipient]).finally(() => letter.fill(0))
  const file = await freeName(folder, `${share.setId.toUpperCase()}-share-${share.index}`)
  await writeSetFile(folder, file, sealed)
  const path = join(folder, file)
  if (!(await readBackup(path)).equals(sealed)) {
    throw new KvxError('READ_BACK_FAILED', `${shownPath(path)} does not hold what was written`, {
      hint: 'look at `dmesg | tail` and at the disk',
    })
  }
  return {
    openpgp: recipient.fingerprint,
    subkey: recipient.subkey,
    expires: recipient.expires,
    file,
    sha256: sha256Hex(sealed),
  }
}

async function freeName(folder: string, stem: string): Promise<string> {
  for (let number = 1; ; number++) {
    const name = number === 1 ? `${stem}.asc` : `${stem}-${number}.asc`
    if (!(await exists(join(folder, name)))) return name
  }
}
