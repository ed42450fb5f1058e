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
