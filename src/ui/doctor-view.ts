import type { Examination } from '../migration/doctor.ts'
import { columns } from './columns.ts'

const words = { ok: 'ok', warn: 'WARN', stop: 'STOP' } as const

export function doctorLines(examinations: readonly Examination[]): readonly string[] {
  const rows = examinations.map(({ name, health, message, remedy }) => [
    words[health],
    name,
    remedy === undefined ? message : `${message} → ${remedy}`,
  ])
  const wrong = examinations.filter(({ health }) => health !== 'ok').length
  return [...columns(rows), wrong === 0 ? 'everything is as it should be' : `${wrong} to look at`]
}
