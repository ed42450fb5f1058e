import type { AuditVerdict } from '../audit/verify-audit.ts'
import type { AuditEntry } from '../audit/entry.ts'

/** One entry as one line: time, actor, action, subject, how it ended. */
export function auditLine(entry: AuditEntry): string {
  const facts = Object.entries(entry.data)
    .filter(([name]) => name !== 'intent')
    .map(([name, value]) => `${name}=${Array.isArray(value) ? value.join(',') : String(value)}`)
  const end = entry.exit === undefined ? '' : ` exit ${entry.exit}`
  const subject = entry.subject === undefined ? '' : ` ${entry.subject}`
  return `${entry.seq}  ${entry.at}  ${entry.actor}  ${entry.action}${subject}  ${entry.phase}${end}  ${facts.join(' ')}`.trimEnd()
}

const maxShown = 20

export function auditVerdictLines(verdict: AuditVerdict): readonly string[] {
  const { problems, problemCount, entries, head, documents } = verdict
  const signed = `${documents.checked} signed ${documents.checked === 1 ? 'document' : 'documents'}`
  return [
    ...problems.slice(0, maxShown).map(problemLine),
    problemCount > 0
      ? `${problemCount} ${problemCount === 1 ? 'problem' : 'problems'} in ${entries} entries and ${signed}`
      : entries === 0 && documents.checked > 0
        ? `${signed}: its signature is right`
        : `${entries} entries: numbers, chain and signatures are right; ${signed} ${documents.checked === 1 ? 'fits' : 'fit'} them`,
    `head  ${head.seq}:${head.head}`,
  ]
}

function problemLine({ line, code, message, document }: AuditVerdict['problems'][number]): string {
  return document === undefined ? `line ${line}  ${code}  ${message}` : `${code}  ${message}`
}
