import { idKey } from './cells.ts'
import { createHash } from 'node:crypto'
import { readBackup, type BackupEntry } from './ciphertext-backup.ts'
import { breathe } from './scan.ts'

/** Where the last bytes of each record stand in a run's backup. */
export type NewestEntries = {
  /** Of each envelope, how many records the backup holds. */
  readonly records: ReadonlyMap<string, number>
  /** Whether the entry at this position, counted from 0, is the last one of its record. */
  isNewest(entry: BackupEntry, position: number): boolean
}

/**
 * A record that a writer sealed again during the run was backed up more than once: its last bytes count. Memory
 * holds eight bytes a record, and whole ids of those alone that may stand there twice.
 */
export async function findNewest(
  runDirectory: string,
  run: { readonly id: string; readonly planDigest: string },
): Promise<NewestEntries> {
  const hashes: number[] = []
  const records = new Map<string, number>()
  for await (const entry of readBackup(runDirectory, run)) {
    if (hashes.length % 1000 === 0) await breathe(undefined)
    hashes.push(hashOf(entryKey(entry)))
    records.set(entry.envelope, (records.get(entry.envelope) ?? 0) + 1)
  }
  const twice = repeated(hashes)
  const newest = new Map<string, number>()
  if (twice.size > 0) {
    let at = -1
    for await (const entry of readBackup(runDirectory, run)) {
      at++
      const key = entryKey(entry)
      if (!twice.has(hashOf(key))) continue
      if (newest.has(key)) records.set(entry.envelope, (records.get(entry.envelope) ?? 0) - 1)
      newest.set(key, at)
    }
  }
  return {
    records,
    isNewest: (entry, position) =>
      newest.size === 0 || (newest.get(entryKey(entry)) ?? position) === position,
  }
}

function entryKey(entry: BackupEntry): string {
  // Wrapped DEKs and the values that are joined to them lie in two tables, which may use the same ids.
  return `${entry.envelope}\0${entry.joined === true ? 'joined' : ''}\0${idKey(entry.id)}`
}

/** 48 bits: two records that share them cost a look at their whole ids, nothing else. */
function hashOf(key: string): number {
  return createHash('sha256').update(key).digest().readUIntBE(0, 6)
}

function repeated(hashes: readonly number[]): ReadonlySet<number> {
  const sorted = Float64Array.from(hashes).sort()
  const twice = new Set<number>()
  sorted.forEach((hash, index) => {
    if (index > 0 && sorted[index - 1] === hash) twice.add(hash)
  })
  return twice
}
