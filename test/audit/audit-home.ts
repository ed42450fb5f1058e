import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { generateSigningKey } from '../../src/core/signature.ts'
import { createAuditKey } from '../../src/audit/audit-key.ts'
import { type Audit, openAudit } from '../../src/audit/audit.ts'
import { emptyHead, makeLine, recoverAction } from '../../src/audit/entry.ts'
import type { EntryDraft, Head } from '../../src/audit/entry.ts'
import { type Signer, makeSigner } from '../../src/audit/signer.ts'

export const at = '2026-01-01T00:00:00Z'
export const stamp = { now: () => at, actor: 'tester (uid 0) on host' }

/** A directory that goes when the test ends. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'kvx-audit-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export type AuditHome = {
  readonly directory: string
  readonly signer: Signer
  readonly audit: Audit
  readonly log: () => Buffer
  readonly setLog: (bytes: Uint8Array) => void
}

export async function makeAuditHome(): Promise<AuditHome> {
  const directory = temporaryDirectory()
  const { signer } = await createAuditKey(directory)
  const path = join(directory, 'log.jsonl')
  return {
    directory,
    signer,
    audit: openAudit(directory, { signer, ...stamp }),
    log: () => readFileSync(path),
    setLog: (bytes) => writeFileSync(path, bytes, { mode: 0o600 }),
  }
}

export const newSigner = (): Signer => makeSigner(generateSigningKey())

/** The draft of the entry with this number, of varying shape. */
export function draftOf(seq: number): EntryDraft {
  if (seq % 3 === 0)
    return { action: 'key.rotate', phase: 'result', exit: 0, subject: 'master@2', data: { ok: true } }
  if (seq % 3 === 1) return { action: 'key.rotate', phase: 'intent', run: `run-${seq}`, data: { count: seq } }
  return { action: 'vault.put', phase: 'note', data: { names: ['a', 'ä "quoted" {'] } }
}

export type BuiltLog = { readonly lines: readonly Buffer[]; readonly head: Head; readonly bytes: Buffer }

/** A log that is made in memory, by the product's own line maker. */
export function buildLog(signer: Signer, count: number, from: Head = emptyHead): BuiltLog {
  const lines: Buffer[] = []
  let head = from
  for (let index = 0; index < count; index += 1) {
    const made = makeLine(head, { signer, at, actor: stamp.actor }, draftOf(head.seq + 1))
    lines.push(made.line)
    head = made.head
  }
  return { lines, head, bytes: joinLines(lines) }
}

export function joinLines(lines: readonly Uint8Array[]): Buffer {
  return Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')]))
}

/** A log of 30 entries in which a torn line lies between entries 14 and 15, noted by 15. */
export function tornLog(signer: Signer): BuiltLog & { readonly tornLine: number } {
  const before = buildLog(signer, 14)
  const torn = buildLog(signer, 1, before.head).bytes.subarray(0, 100)
  const tornSha256 = createHash('sha256').update(torn).digest('hex')
  const data = { tornBytes: torn.length, tornSha256 }
  const note = makeLine(
    before.head,
    { signer, at, actor: stamp.actor },
    { action: recoverAction, phase: 'note', data },
  )
  const after = buildLog(signer, 15, note.head)
  const lines = [...before.lines, torn, note.line, ...after.lines]
  return { bytes: joinLines(lines), lines, head: after.head, tornLine: 15 }
}
