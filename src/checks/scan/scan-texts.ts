import { readInto } from '../../platform/tree.ts'
import type { SeenKey } from '../reuse.ts'
import type { Finding } from '../rules.ts'
import { type Scanned, scanText } from './scan-text.ts'

/** No text that people write is larger; what is, is data. */
const maxTextBytes = 2 * 1_048_576

/** Looks through many texts, one buffer for all of them, which is wiped at the end. */
export function scanTexts(paths: readonly string[]): Scanned {
  if (paths.length === 0) return { findings: [], keys: [] }
  const buffer = Buffer.allocUnsafeSlow(maxTextBytes)
  const findings: Finding[] = []
  const keys: SeenKey[] = []
  let longest = 0
  try {
    for (const path of paths) {
      const length = readInto(path, buffer)
      if (length === undefined) continue
      longest = Math.max(longest, length)
      const found = scanText(path, buffer.subarray(0, length))
      findings.push(...found.findings)
      keys.push(...found.keys)
    }
  } finally {
    buffer.fill(0, 0, longest)
  }
  return { findings, keys }
}
