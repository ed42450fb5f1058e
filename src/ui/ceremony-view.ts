import type { Finding } from '../ceremony/preflight.ts'
import type { Check } from '../ceremony/verify.ts'
import { columns } from './columns.ts'

const findingMarks = { ok: 'OK', warn: 'WARN', stop: 'STOP' } as const

export function findingLines(findings: readonly Finding[]): readonly string[] {
  return columns(findings.map(({ name, state, message }) => [findingMarks[state], name, message]))
}

const checkMarks = { right: 'right', open: 'open', wrong: 'WRONG' } as const

export function checkLines(checks: readonly Check[]): readonly string[] {
  return columns(checks.map(({ name, state, message }) => [checkMarks[state], name, message]))
}
