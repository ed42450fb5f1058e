import type { Status } from '../migration/status.ts'
import { columns } from './columns.ts'

export function statusLines(status: Status): readonly string[] {
  if (status.keys.length === 0) return ['no keys yet', 'Next: kvx key import NAME, or kvx keygen NAME']
  const rows = status.keys.map(({ name, purpose, seals, ageDays, sealUntil, backedUp, lastDrill }) => [
    name,
    purpose,
    seals === null ? 'none seals' : `@${seals} seals`,
    ageDays === null ? '' : `${ageDays} days`,
    sealUntil === null ? '' : `until ${sealUntil.slice(0, 10)}`,
    backedUp ? 'backed up' : 'NOT BACKED UP',
    lastDrill === null ? '' : `drill ${lastDrill.slice(0, 10)}`,
  ])
  const due = status.due.map(({ message, command }) => `  ${message}\n    ${command}`)
  return [...columns(rows), ...(due.length === 0 ? ['nothing is due'] : [`due: ${due.length}`, ...due])]
}
