import { dirname, join } from 'node:path'
import { isKvxError, type KvxError } from '../core/errors.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { modeText } from '../platform/file-facts.ts'
import { readFileCapped } from '../platform/files.ts'
import type { Finding, RuleId } from './rules.ts'
import { typeFinding } from './key-file.ts'
import type { Target } from './targets.ts'

/** The rules about files that are no keys. */
export type DocumentChecks = (target: Target) => Promise<readonly Finding[]>

/** What the rules need of the rest of kvx, so that they depend on none of it. */
export type DocumentReaders = {
  /** What the policy asks for and is not kept. @throws CONFIG_INVALID */
  readonly readConfig: (path: string, bytes: Buffer) => Promise<readonly PolicyFinding[]>
  /** @throws DAMAGED */
  readonly readManifest: (path: string, bytes: Buffer) => Promise<Recorded>
  readonly sha256: (bytes: Buffer) => string
  /** What is wrong with the framing of an OpenPGP message. */
  readonly messageProblem: (bytes: Buffer) => Promise<string | undefined>
}

export type PolicyFinding = {
  readonly rule: 'POLICY_UNKEPT' | 'POLICY_DUE'
  readonly message: string
  readonly remedy: string
}

/** What a manifest says of its backup. */
type Recorded = { readonly file: string; readonly sha256: string }

const maxDocumentBytes = 16 * 1_048_576

export function documentChecks(readers: DocumentReaders): DocumentChecks {
  return async (target) => {
    const odd =
      target.facts.type === 'symlink' ? undefined : typeFinding(target.path, { ...target.facts, size: 0 })
    if (odd !== undefined) return [odd]
    if (target.kind === 'config') return checkConfig(target.path, readers)
    return target.kind === 'manifest'
      ? checkManifest(target.path, readers)
      : checkMessage(target.path, readers)
  }
}

function error(rule: RuleId, path: string, message: string, remedy: string): Finding {
  return { rule, severity: 'error', path: shownPath(path), message, remedy }
}

function refusal(rule: RuleId, path: string, found: KvxError): Finding {
  return error(rule, path, found.message, found.hint ?? `look at it with \`kvx inspect ${quotedPath(path)}\``)
}

async function checkConfig(path: string, readers: DocumentReaders): Promise<readonly Finding[]> {
  const { bytes, facts } = await readFileCapped(path, { maxBytes: maxDocumentBytes, follow: true })
  const findings: Finding[] = []
  try {
    for (const { rule, message, remedy } of await readers.readConfig(path, bytes))
      findings.push(error(rule, path, message, remedy))
  } catch (found) {
    if (!isKvxError(found)) throw found
    findings.push(refusal('CONFIG_INVALID', path, found))
  }
  if ((facts.mode & 0o022) !== 0) {
    const message = `others can write the configuration (mode ${modeText(facts.mode)}) and decide where keys go`
    findings.push(error('CONFIG_WRITABLE', path, message, `\`chmod go-w ${quotedPath(path)}\``))
  }
  return findings
}

async function checkManifest(path: string, readers: DocumentReaders): Promise<readonly Finding[]> {
  const { bytes } = await readFileCapped(path, { maxBytes: maxDocumentBytes, follow: true })
  let recorded: Recorded
  try {
    recorded = await readers.readManifest(path, bytes)
  } catch (found) {
    if (!isKvxError(found)) throw found
    return [refusal('MANIFEST_INVALID', path, found)]
  }
  const backup = join(dirname(path), recorded.file)
  const remedy = 'make a new backup while the key exists: `kvx backup create NAME`'
  try {
    const { bytes: sealed } = await readFileCapped(backup, { maxBytes: maxDocumentBytes })
    if (readers.sha256(sealed) === recorded.sha256) return []
  } catch (found) {
    if (!isKvxError(found)) throw found
    return [error('MANIFEST_BACKUP_DIFFERS', path, `its backup cannot be read: ${found.message}`, remedy)]
  }
  const message = `${shownPath(backup)} is not the file that the manifest records: its SHA-256 differs`
  return [error('MANIFEST_BACKUP_DIFFERS', path, message, remedy)]
}

async function checkMessage(path: string, readers: DocumentReaders): Promise<readonly Finding[]> {
  const { bytes } = await readFileCapped(path, { maxBytes: maxDocumentBytes, follow: true })
  const problem = await readers.messageProblem(bytes)
  if (problem === undefined) return []
  const remedy = 'make a new backup while the key exists: `kvx backup create NAME`'
  return [error('MESSAGE_DAMAGED', path, problem, remedy)]
}
