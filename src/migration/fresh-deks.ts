import { fingerprintOf } from '../core/fingerprint.ts'
import type { Secret } from '../core/secret.ts'
import { exists } from '../platform/files.ts'
import { backupPath, readBackup } from './ciphertext-backup.ts'
import type { RunRow } from './journal.ts'

/**
 * The DEKs that a run made, by fingerprint. Nothing in a record says whether its DEK is a new one, so the run
 * remembers: each is in the run's backup, wrapped, beside the one that it replaces, before it seals anything.
 */
export class FreshDeks {
  readonly #fingerprints = new Set<string>()

  /** Those of an earlier attempt of the same run. One that never came to be used is in no record. */
  static async ofRun(runDirectory: string, run: RunRow): Promise<FreshDeks> {
    const fresh = new FreshDeks()
    if (!(await exists(backupPath(runDirectory)))) return fresh
    for await (const { dek } of readBackup(runDirectory, run))
      if (dek !== undefined) fresh.#fingerprints.add(dek)
    return fresh
  }

  has(dek: Secret): boolean {
    return this.#fingerprints.has(fingerprintOf(dek))
  }

  /** @returns the fingerprint, which goes into the backup */
  add(dek: Secret): string {
    const fingerprint = fingerprintOf(dek)
    this.#fingerprints.add(fingerprint)
    return fingerprint
  }
}
