import { join } from 'node:path'
import { KvxError, isKvxError } from '../core/errors.ts'
import { parsePublicKeysPem, publicKeyFingerprint } from '../core/signature.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { exists, readFileCapped } from '../platform/files.ts'
import { parseDocument, readDocuments, readExportedDocuments } from './documents.ts'
import { emptyHead, type Head } from './entry.ts'
import { readLogLines } from './log-lines.ts'
import { verifyDocument } from './signed-document.ts'
import { type AuditVerdict, verifyAudit } from './verify-audit.ts'

const maxKeyBytes = 1_048_576
const maxDocumentBytes = 64 * 1_048_576

/** The public keys of a file like `audit.pub`. @throws KEY_MALFORMED, FILE_NOT_FOUND */
export async function readPublicKeyFile(file: string): Promise<readonly Buffer[]> {
  const { bytes } = await readFileCapped(file, { maxBytes: maxKeyBytes, follow: true })
  return parsePublicKeysPem(bytes.toString('latin1'))
}

/** The log of a home and every signed document in it. */
export async function verifyHome(
  home: { readonly path: string; readonly audit: string },
  options: { readonly publicKeys?: readonly Uint8Array[]; readonly expectedHead?: string } = {},
): Promise<AuditVerdict> {
  return verifyAudit(home.audit, { ...options, documents: await readDocuments(home.path) })
}

/**
 * Verifies what was taken away from a home, with public keys alone: a copy of the home, of its folder `audit/`, of
 * `log.jsonl`, an export, or one report or certificate.
 * @throws FILE_NOT_FOUND; DAMAGED, FINGERPRINT_DIFFERS for a single document; never for what is wrong in a log
 */
export async function verifyEvidence(
  path: string,
  options: { readonly publicKeys: readonly Uint8Array[]; readonly expectedHead?: string },
): Promise<AuditVerdict> {
  if (await exists(join(path, 'audit', 'log.jsonl')))
    return verifyHome({ path, audit: join(path, 'audit') }, options)
  if (await exists(join(path, 'log.jsonl'))) return verifyAudit(path, options)
  if (await isSingleDocument(path)) return verifySingle(path, options.publicKeys)
  const documents = await readExportedDocuments(path)
  return verifyAudit({ file: path }, { ...options, documents })
}

/** A report or a certificate begins with a line of its own, where a log has a whole entry. */
async function isSingleDocument(path: string): Promise<boolean> {
  if (!(await exists(path))) {
    throw new KvxError('FILE_NOT_FOUND', `there is nothing at ${shownPath(path)}`, {
      hint: `Look where it lies: \`ls ${quotedPath(path)}\`.`,
    })
  }
  for await (const { bytes } of readLogLines(path)) return bytes.toString('latin1') === '{'
  return false
}

async function verifySingle(path: string, publicKeys: readonly Uint8Array[]): Promise<AuditVerdict> {
  const { bytes } = await readFileCapped(path, { maxBytes: maxDocumentBytes, follow: true })
  const found: AuditVerdict = {
    entries: 0,
    head: emptyHead,
    keys: [],
    problems: [],
    problemCount: 0,
    warnings: [],
    documents: { checked: 1, named: 0 },
  }
  try {
    const { document, publicKeyFingerprint: signer } = verifyDocument(parseDocument(bytes))
    if (publicKeys.some((key) => publicKeyFingerprint(key) === signer))
      return { ...found, head: (document['audit'] as Head | undefined) ?? emptyHead }
    throw new KvxError('FINGERPRINT_DIFFERS', `it is signed by the key ${signer}, which was not given`)
  } catch (error) {
    if (!isKvxError(error)) throw error
    const code = error.code === 'DAMAGED' ? 'DOCUMENT_CHANGED' : 'DOCUMENT_FOREIGN'
    const message = `${shownPath(path)}: ${error.message}`
    return {
      ...found,
      problemCount: 1,
      problems: [{ line: 0, seq: 0, code, message, document: shownPath(path) }],
    }
  }
}
