import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { canonicalJson } from '../core/canonical-json.ts'
import { KvxError } from '../core/errors.ts'
import { exists, listDirectory, readFileCapped } from '../platform/files.ts'
import { readLines } from '../platform/read-lines.ts'

/** A signed document of a home: the report of a run or of a drill, or the certificate of a retirement. */
export type EvidenceDocument = {
  /** As the log names it: `runs/ID/report.json`, `certificates/….json`, `backups/drills/….json`. */
  readonly path: string
  readonly bytes: Buffer
}

const maxDocumentBytes = 64 * 1_048_576

/** The signed documents of a home or of a copy of one, in the order of their names. */
export async function readDocuments(home: string): Promise<readonly EvidenceDocument[]> {
  const paths: string[] = []
  for (const run of await namesIn(join(home, 'runs'))) {
    if (await exists(join(home, 'runs', run, 'report.json'))) paths.push(`runs/${run}/report.json`)
  }
  for (const folder of ['certificates', 'backups/drills']) {
    for (const name of await namesIn(join(home, folder))) {
      if (name.endsWith('.json')) paths.push(`${folder}/${name}`)
    }
  }
  const documents: EvidenceDocument[] = []
  for (const path of paths) {
    const { bytes } = await readFileCapped(join(home, path), { maxBytes: maxDocumentBytes })
    documents.push({ path, bytes })
  }
  return documents
}

async function namesIn(folder: string): Promise<readonly string[]> {
  if (!(await exists(folder))) return []
  return (await listDirectory(folder)).filter((name) => !name.startsWith('.')).sort()
}

/**
 * The JSON of a signed document, which has one form: what is not signed, as its white space, counts as well.
 * @throws DAMAGED
 */
export function parseDocument(bytes: Buffer): unknown {
  const value = parseJson(bytes)
  if (Buffer.from(`${JSON.stringify(value, null, 2)}\n`).equals(bytes)) return value
  throw new KvxError('DAMAGED', 'its bytes are not in the form in which kvx writes a document')
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

const documentMark = Buffer.from('{"document":')

/** A document as a line of an export: its path, and its bytes as text, or in base64 where they are none. */
export function encodeDocumentLine({ path, bytes }: EvidenceDocument): Buffer {
  const text = bytes.toString('utf8')
  const isText = Buffer.from(text).equals(bytes) && text.isWellFormed()
  const content = isText ? { text } : { base64: bytes.toString('base64') }
  return Buffer.concat([canonicalJson({ document: path, ...content }), Buffer.from('\n')])
}

/** True for the line of a document: entries of the log begin with another name. */
export function isDocumentLine(line: Buffer): boolean {
  return line.subarray(0, documentMark.length).equals(documentMark)
}

/** The documents of an export. A line that is none any more is given as a document of no bytes. */
export async function readExportedDocuments(file: string): Promise<readonly EvidenceDocument[]> {
  const documents: EvidenceDocument[] = []
  for await (const { line } of readLines(file)) {
    if (isDocumentLine(line)) documents.push(decodeDocumentLine(line))
  }
  return documents
}

function decodeDocumentLine(line: Buffer): EvidenceDocument {
  try {
    const value = JSON.parse(line.toString('utf8')) as Readonly<Record<string, unknown>>
    const { document: path, text, base64 } = value
    const bytes = typeof text === 'string' ? Buffer.from(text) : Buffer.from(String(base64), 'base64')
    const found = { path: String(path), bytes }
    if (encodeDocumentLine(found).subarray(0, -1).equals(line)) return found
  } catch {
    // not JSON any more
  }
  return { path: 'a line of the export', bytes: Buffer.alloc(0) }
}
