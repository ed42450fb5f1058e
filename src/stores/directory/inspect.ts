import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { requireGivable } from '../../platform/access.ts'
import { requireExchange } from '../../platform/exchange-names.ts'
import { fileError, shownPath } from '../../platform/file-errors.ts'
import { lstatFacts } from '../../platform/files.ts'
import type { RecordSet, StoreFacts } from '../store.ts'
import { describeTarget } from './directory-errors.ts'
import { withBody } from './body.ts'
import { countRecords } from './fixed-records.ts'
import { type Directory, requireRecordFile, requireSet } from './record-files.ts'
import { type Found, walk } from './walk.ts'

type Counts = { records: bigint; files: number; hidden: number; leftovers: number }

/**
 * Looks at every file of the record set and counts the records. One value a file is not opened; JSON is read.
 * @throws STORE_SHAPE, UNSAFE_OWNER and UNSAFE_FILE_TYPE for what a run could not replace; IO_ERROR for a file that
 *   cannot be read; TOOL_MISSING when nothing here exchanges files for `online: exchange`
 */
export async function inspectRecords(directory: Directory, set: RecordSet): Promise<StoreFacts> {
  const globs = requireSet(directory, set)
  if (directory.isOnline) await requireExchange()
  const counts: Counts = { records: 0n, files: 0, hidden: 0, leftovers: 0 }
  for await (const some of walk(directory.target, globs))
    for (const found of some) await look(directory, set, { found, counts })
  return { records: counts.records, warnings: warningsOf(directory, set, counts) }
}

async function look(
  directory: Directory,
  set: RecordSet,
  { found, counts }: { readonly found: Found; readonly counts: Counts },
): Promise<void> {
  if (found.kind === 'hidden') counts.hidden++
  if (found.kind === 'leftover') counts.leftovers++
  if (found.kind !== 'file') return
  const full = join(directory.target.path, found.path)
  const facts = await lstatFacts(full)
  if (facts === undefined) return // it vanished meanwhile
  requireRecordFile(directory, found.path, facts)
  requireGivable(full, facts.uid, facts.gid)
  counts.files++
  counts.records += await countIn(directory, set, { path: found.path, size: facts.size })
}

type Counted = { readonly path: string; readonly size: number }

async function countIn(directory: Directory, set: RecordSet, file: Counted): Promise<bigint> {
  const { isOpaque, sizes } = directory.format
  if (isOpaque || sizes !== undefined) {
    const full = join(directory.target.path, file.path)
    try {
      accessSync(full, constants.R_OK)
    } catch (error) {
      throw fileError(error, 'read', full)
    }
    return sizes === undefined ? 1n : BigInt(countRecords(directory.target, file, sizes))
  }
  return await withBody(directory, file.path, async (body) => {
    let records = 0n
    if (body !== undefined) for await (const _ of body.records(set)) records++
    return records
  })
}

function warningsOf(directory: Directory, set: RecordSet, counts: Counts): StoreFacts['warnings'] {
  const store = describeTarget(directory.target)
  const warnings: { code: string; message: string }[] = []
  if (!directory.isOnline) {
    warnings.push({
      code: 'OFFLINE_ONLY',
      message: `${store}: stop every program that writes its files during a run; \`online: exchange\` in kvx.yaml is for programs that replace files by rename`,
    })
  }
  if (counts.files === 0) {
    warnings.push({ code: 'NO_FILES', message: `${store}: no file matches ${shownPath(set.table)}` })
  }
  if (counts.hidden > 0) {
    warnings.push({
      code: 'HIDDEN_FILES',
      message: `${store}: ${counts.hidden} names with a leading dot are left out; a pattern that writes the dot takes them`,
    })
  }
  if (counts.leftovers > 0) {
    warnings.push({
      code: 'LEFTOVERS',
      message: `${store}: a run is at work or was killed, ${counts.leftovers} unfinished files lie there; the next run clears them away`,
    })
  }
  return warnings
}
