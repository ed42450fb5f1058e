/**
 * A process of its own that takes key material from its standard input, works with it, and waits to be looked at:
 * `memory-worker.ts fingerprint`, `memory-worker.ts drill`. The input is 32 bytes, or shares of 33 bytes each.
 */
import { readSync } from 'node:fs'
import { opensCanary, sealCanary } from '../../../src/core/canary.ts'
import { fingerprintOf } from '../../../src/core/fingerprint.ts'
import { Secret } from '../../../src/core/secret.ts'
import { recombine } from '../../../src/core/share/recombine.ts'
import type { Share } from '../../../src/core/share/share-text.ts'

function taken(length: number): Secret {
  const bytes = Buffer.allocUnsafeSlow(length)
  for (let at = 0; at < length; ) at += readSync(0, bytes, at, length - at, null)
  return Secret.take(bytes)
}

const [mode = '', fingerprint = '', canary = ''] = process.argv.slice(2)
const held: Secret[] = []
if (mode === 'fingerprint') {
  const material = taken(32)
  process.stdout.write(
    `${fingerprintOf(material)} ${opensCanary(material, 'k@1', sealCanary(material, 'k@1', new Uint8Array(12)))}\n`,
  )
  held.push(material) // the one copy that may be found
} else {
  const head = { threshold: 2, of: 3, setId: 'kvxdem', checkValue: fingerprint.slice(0, 10).toUpperCase() }
  const shares: Share[] = [1, 2].map((index) => ({ ...head, index, point: taken(33) }))
  const { material } = await recombine(shares, fingerprint)
  const opens = opensCanary(material, 'k@1', canary)
  material.wipe()
  for (const { point } of shares) point.wipe()
  process.stdout.write(`${fingerprint} ${opens}\n`)
}
setInterval(() => held.length, 60_000)
