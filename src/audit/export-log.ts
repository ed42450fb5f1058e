import { encodeDocumentLine, readDocuments } from './documents.ts'
import { logPath, readLogLines } from './log-lines.ts'

export type ExportCounts = { readonly entries: number; readonly documents: number }

/**
 * Gives out the log of a home, byte for byte, and behind it a line for each signed document, piece by piece. What a
 * crash left of an unfinished last line stays behind.
 */
export async function exportLog(
  home: { readonly path: string; readonly audit: string },
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<ExportCounts> {
  let entries = 0
  for await (const { bytes, terminated, cut } of readLogLines(logPath(home.audit))) {
    if (!terminated || cut) continue
    await write(Buffer.concat([bytes, Buffer.from('\n')]))
    entries += 1
  }
  const documents = await readDocuments(home.path)
  for (const document of documents) await write(encodeDocumentLine(document))
  return { entries, documents: documents.length }
}
