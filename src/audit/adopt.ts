import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { makeDirectory, readFileCapped } from '../platform/files.ts'
import { writeState } from '../platform/state-file.ts'
import type { Audit } from './audit.ts'
import { readPublicKeys } from './audit-key.ts'
import type { Head } from './entry.ts'
import { verifyAudit } from './verify-audit.ts'

const maxSideLogBytes = 16 * 1_048_576

/**
 * Takes a side log into the home: verified with the home's keys, kept under `audit/adopted/` as it is, and named
 * in the home's log by length, head and SHA-256. Adopting the same file again only adds another note.
 * @throws AUDIT_BROKEN when it was changed or another home signed it
 */
export async function adoptLog(
  directory: string,
  audit: Audit,
  file: string,
): Promise<{ readonly entries: number; readonly kept: string; readonly head: Head }> {
  const { bytes } = await readFileCapped(file, { maxBytes: maxSideLogBytes })
  const publicKeys = (await readPublicKeys(directory)).map(({ raw }) => raw)
  const verdict = await verifyAudit(bytes, { publicKeys })
  if (verdict.problemCount > 0 || verdict.entries === 0) {
    throw new KvxError('AUDIT_BROKEN', `${file} is not a whole log that this home signed`, {
      hint: 'It is left where it is. Keep it as evidence.',
      details: { problems: verdict.problemCount },
    })
  }
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const folder = join(directory, 'adopted')
  await makeDirectory(folder, 0o700)
  const kept = join(folder, `${sha256.slice(0, 16)}.jsonl`)
  await writeState(kept, bytes)
  const head = await audit.append({
    action: 'audit.adopt',
    phase: 'note',
    data: { entries: verdict.entries, headSha256: verdict.head.head, sha256 },
  })
  return { entries: verdict.entries, kept, head }
}
