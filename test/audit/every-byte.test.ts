import { createHash } from 'node:crypto'
import { expect, test, vi } from 'vitest'
import { verifyAudit } from '../../src/audit/verify-audit.ts'
import { buildLog, newSigner, tornLog } from './audit-home.ts'

// The real verdicts, each computed once: 15,000 logs that differ in one byte repeat nearly all of them.
vi.mock(import('../../src/core/signature.ts'), async (original) => {
  const real = await original()
  const verdicts = new Map<string, boolean>()
  return {
    ...real,
    openVerifier: (publicKey) => {
      const verify = real.openVerifier(publicKey)
      return (message, signature) => {
        const hash = createHash('sha256').update(publicKey).update(signature).update(message)
        const name = `${hash.digest('hex')} ${signature.length}`
        const verdict = verdicts.get(name) ?? verify(message, signature)
        verdicts.set(name, verdict)
        return verdict
      }
    },
  }
})

const signer = newSigner()

const changes: readonly ((byte: number) => number)[] = [
  (byte) => byte ^ 1,
  (byte) => (byte + 1) & 0xff, // the bits of the last base64 sign that stand for nothing
  (byte) => byte ^ 0x20, // the case of a letter
  () => 0x0a,
  () => 0x00,
  () => 0xff,
  () => 0x22,
  () => 0x20,
  () => 0x7d,
]

async function expectLocated(
  bytes: Buffer,
  position: number,
  change: (byte: number) => number,
  noteLine = 0,
): Promise<void> {
  const changed = Buffer.from(bytes)
  const old = changed.readUInt8(position)
  changed.writeUInt8(change(old), position)
  if (changed.equals(bytes)) return
  const line = bytes.subarray(0, position).filter((byte) => byte === 0x0a).length + 1
  const { problems } = await verifyAudit(changed, { publicKeys: [signer.publicKey] })
  const lines = problems.map((problem) => problem.line)
  // A note that is changed no longer proves the torn line before it: both are named.
  const first = line === noteLine ? line - 1 : line
  expect(lines[0], `byte ${position}, ${old} -> ${change(old)}`).toBe(first)
  expect(lines).toContain(line)
}

test('a change of any single byte of 30 entries and a noted torn line is noticed at the right line', async () => {
  const { bytes, tornLine } = tornLog(signer)
  expect(await verifyAudit(bytes, { publicKeys: [signer.publicKey] })).toMatchObject({
    entries: 30,
    problems: [],
    warnings: [{ code: 'TORN_LINE_NOTED' }, {}],
  })
  for (let position = 0; position < bytes.length; position += 1) {
    const change = changes[position % changes.length]
    if (change !== undefined) await expectLocated(bytes, position, change, tornLine + 1)
  }
}, 300_000)

test.each(changes.map((change) => [change]))(
  '%s at any byte is noticed at the right line',
  async (change) => {
    const { bytes } = buildLog(signer, 3)
    for (let position = 0; position < bytes.length; position += 1)
      await expectLocated(bytes, position, change)
  },
)
