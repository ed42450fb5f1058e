import { readPublicKeys } from './audit-key.ts'
import { parseLine } from './entry.ts'
import { logPath, readLogLines } from './log-lines.ts'

/**
 * True for a home that was made from a copy whose audit key nobody vouched for: what its keyring says of a key
 * is whole, and still proves nothing. A log that cannot tell says nothing against the home.
 */
export async function isFromUnprovenCopy(directory: string): Promise<boolean> {
  for await (const { bytes } of readLogLines(logPath(directory))) {
    const parsed = parseLine(bytes)
    if (!parsed.ok || parsed.entry.action !== 'home.restore') return false
    const prior = parsed.entry.data['priorPublicKeyFingerprints']
    const known = (await readPublicKeys(directory)).map(({ fingerprint }) => fingerprint)
    return Array.isArray(prior) && !prior.some((fingerprint) => known.includes(String(fingerprint)))
  }
  return false
}
