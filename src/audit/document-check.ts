import { isKvxError } from '../core/errors.ts'
import type { PublicKey } from './audit-key.ts'
import { type EvidenceDocument, parseDocument, sha256Of } from './documents.ts'
import type { AuditEntry, Head } from './entry.ts'
import type { Problem, ProblemCode, Warning } from './log-chain.ts'
import type { UsedKey } from './log-keys.ts'
import { verifyDocument } from './signed-document.ts'

/** Facts by which an entry names a document: its path, and the SHA-256 of its bytes. */
const namings = [
  ['report', 'reportSha256'],
  ['certificate', 'certificateSha256'],
] as const

type Naming = { readonly sha256: string; readonly seq: number }

/** What was signed, apart from the bytes that carry it. */
type Signed = { readonly signer: string; readonly head: Head | undefined }

/**
 * Holds signed documents against the log: each is signed by a key of this log, stands on a head that the log
 * really had, and is byte for byte the one that the log names; each one that the log names is there.
 */
export class DocumentCheck {
  readonly problems: Problem[] = []
  readonly warnings: Warning[] = []
  readonly #documents: ReadonlyMap<string, EvidenceDocument>
  readonly #signed = new Map<string, Signed>()
  readonly #wanted = new Map<number, string | undefined>()
  readonly #named = new Map<string, Naming>()
  readonly #trusted: ReadonlySet<string>

  constructor(documents: readonly EvidenceDocument[], trusted: readonly PublicKey[]) {
    this.#documents = new Map(documents.map((one) => [one.path, one]))
    this.#trusted = new Set(trusted.map(({ fingerprint }) => fingerprint))
    for (const document of documents) {
      const signed = this.#read(document)
      if (signed === undefined) continue
      this.#signed.set(document.path, signed)
      if (signed.head !== undefined) this.#wanted.set(signed.head.seq, undefined)
    }
  }

  /** How many there are, and how many the log names. */
  get counts(): { readonly checked: number; readonly named: number } {
    return { checked: this.#documents.size, named: this.#named.size }
  }

  /** The next entry of the log, signed by a known key. */
  entry(entry: AuditEntry, { head }: Head): void {
    if (this.#wanted.has(entry.seq)) this.#wanted.set(entry.seq, head)
    for (const [pathName, hashName] of namings) {
      const [path, sha256] = [entry.data[pathName], entry.data[hashName]]
      if (typeof path === 'string' && typeof sha256 === 'string')
        this.#named.set(path, { sha256, seq: entry.seq })
    }
  }

  /** @param used the keys that signed the log */
  end(used: readonly UsedKey[]): void {
    const known = new Set([
      ...this.#trusted,
      ...used.filter(({ trusted, endorsed }) => trusted || endorsed).map(({ fingerprint }) => fingerprint),
    ])
    for (const [path, signed] of this.#signed) {
      if (!known.has(signed.signer)) {
        this.#report(
          'DOCUMENT_FOREIGN',
          path,
          `is signed by the key ${signed.signer}, which is not of this log`,
        )
      }
      const { head } = signed
      if (head !== undefined && this.#wanted.get(head.seq) !== head.head) {
        const message = `stands on entry ${head.seq} with a head that this log does not have: the log was cut off or replaced`
        this.#report('DOCUMENT_UNCHAINED', path, message, head.seq)
      }
    }
    for (const [path, document] of this.#documents) this.#compare(path, document)
    const missing = [...this.#named].filter(([path]) => !this.#documents.has(path))
    if (this.#documents.size === 0 && missing.length > 0) {
      const message = `the log names ${missing.length} signed documents, and none is here: verify the home or a whole export to see them`
      this.warnings.push({ code: 'DOCUMENTS_ABSENT', message })
      return
    }
    for (const [path, { seq }] of missing)
      this.#report('DOCUMENT_MISSING', path, `is named by entry ${seq} and missing`, seq)
  }

  #compare(path: string, document: EvidenceDocument): void {
    const named = this.#named.get(path)
    const signed = this.#signed.get(path)
    if (signed === undefined || named?.sha256 === sha256Of(document.bytes)) return
    // A crash between the document and its entry: what it says is whole, and newer than what the log knows.
    if (named === undefined || (signed.head?.seq ?? 0) > named.seq) {
      const message = `${path} is whole and signed, and no entry of the log names it yet`
      this.warnings.push({ code: 'DOCUMENT_NOT_NAMED', message })
      return
    }
    this.#report('DOCUMENT_CHANGED', path, `is not the one that entry ${named.seq} names`, named.seq)
  }

  #read({ path, bytes }: EvidenceDocument): Signed | undefined {
    try {
      const { document, publicKeyFingerprint } = verifyDocument(parseDocument(bytes))
      return { signer: publicKeyFingerprint, head: headOf(document['audit']) }
    } catch (error) {
      if (!isKvxError(error)) throw error
      this.#report('DOCUMENT_CHANGED', path, `does not verify: ${error.message}`)
      return undefined
    }
  }

  #report(code: ProblemCode, path: string, what: string, seq = 0): void {
    this.problems.push({ line: 0, seq, code, message: `${path} ${what}`, document: path })
  }
}

function headOf(value: unknown): Head | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { seq, head }: { seq?: unknown; head?: unknown } = value
  return typeof seq === 'number' && typeof head === 'string' ? { seq, head } : undefined
}
