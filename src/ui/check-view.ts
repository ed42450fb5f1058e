import type { Checked, CheckResult } from '../checks/run-checks.ts'
import type { Finding, Severity } from '../checks/rules.ts'
import { checkValueOf } from '../core/fingerprint.ts'
import { colours, type Stream } from './colours.ts'
import { columns, count } from './columns.ts'

/** The data of `kvx.check/1`. */
export function checkData(result: CheckResult) {
  return {
    findings: result.findings,
    checked: result.checked.length + result.texts,
    files: result.checked.map(({ path, key }) => ({
      path,
      encoding: key?.encoding ?? null,
      bytes: key?.bytes ?? null,
      fingerprint: key?.fingerprint ?? null,
      checkValue: key === undefined ? null : checkValueOf(key.fingerprint),
    })),
  }
}

/** A line for each file with what was found below it, and the counts at the end. */
export function checkLines(result: CheckResult, stream: Stream): readonly string[] {
  const { checked, findings } = result
  const files = new Set(checked.map(({ path }) => path))
  const elsewhere = [...new Set(findings.map(({ path }) => path))].filter((path) => !files.has(path))
  const subjects = [...checked, ...elsewhere.map((path): Checked => ({ path, key: undefined }))]
  const own = (path: string): readonly Finding[] => findings.filter((finding) => finding.path === path)
  const heads = columns(subjects.map((subject) => headOf(subject, own(subject.path))))
  return [
    ...subjects.flatMap(({ path }, at) => [
      heads[at] ?? path,
      ...own(path).flatMap((one) => findingLines(one, stream)),
    ]),
    '',
    `${count(checked.length + result.texts)} checked: ${countsText(findings)}`,
  ]
}

function headOf({ path, key }: Checked, findings: readonly Finding[]): string[] {
  const facts =
    key === undefined ? ['', '', ''] : [key.encoding, `${key.bytes} bytes`, checkValueOf(key.fingerprint)]
  return [path, ...facts, findings.length === 0 ? 'ok' : countsText(findings)]
}

function findingLines(finding: Finding, stream: Stream): string[] {
  const { red, yellow, dim } = colours(stream)
  const word = finding.severity === 'error' ? red('error  ') : yellow('warning')
  const line = finding.line === undefined ? '' : ` line ${finding.line}`
  return [`  ${word}  ${finding.rule}${line}: ${finding.message}`, `           ${dim('→')} ${finding.remedy}`]
}

/** `2 errors, 1 warning` */
export function countsText(findings: readonly Finding[]): string {
  const parts = (['error', 'warning'] as const)
    .map(
      (severity: Severity) =>
        [findings.filter((finding) => finding.severity === severity).length, severity] as const,
    )
    .filter(([found]) => found > 0)
    .map(([found, severity]) => `${count(found)} ${severity}${found === 1 ? '' : 's'}`)
  return parts.length === 0 ? 'nothing found' : parts.join(', ')
}
