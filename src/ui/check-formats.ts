import { createHash } from 'node:crypto'
import { relative, resolve } from 'node:path'
import type { CheckResult } from '../checks/run-checks.ts'
import { type Finding, type RuleId, ruleIds, rules } from '../checks/rules.ts'
import { kvxVersion } from '../version.ts'

/** Findings in the forms that CI systems read: a document each, without a line break at its end. */

/** A path as others resolve it: from the folder in which kvx runs, which in CI is the repository. */
function fromHere(path: string): string {
  const way = relative(process.cwd(), resolve(path))
  return way.startsWith('..') ? path : way
}

function isFile({ path }: Finding): boolean {
  return path !== 'stdin' && !path.startsWith('env:')
}

/** SARIF 2.1.0, as code scanning services take it: https://docs.oasis-open.org/sarif/sarif/v2.1.0/ */
export function sarif({ findings }: CheckResult): string {
  const used = ruleIds.filter((rule) => findings.some((finding) => finding.rule === rule))
  return JSON.stringify(
    {
      version: '2.1.0',
      $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
      runs: [
        {
          tool: { driver: { name: 'kvx', version: kvxVersion, rules: used.map(sarifRule) } },
          columnKind: 'utf16CodeUnits',
          results: findings.map((finding) => sarifResult(finding, used)),
        },
      ],
    },
    null,
    2,
  )
}

function sarifRule(rule: RuleId) {
  const { finds, group } = rules[rule]
  return { id: rule, shortDescription: { text: finds }, properties: { tags: ['security', group] } }
}

function sarifResult(finding: Finding, used: readonly RuleId[]) {
  const { rule, severity, path, line, message, remedy } = finding
  const uri = fromHere(path).split('/').map(encodeURIComponent).join('/')
  const region = line === undefined ? {} : { region: { startLine: line } }
  const where = isFile(finding)
    ? { physicalLocation: { artifactLocation: { uri }, ...region } }
    : { logicalLocations: [{ fullyQualifiedName: path }] }
  return {
    ruleId: rule,
    ruleIndex: used.indexOf(rule),
    level: severity,
    message: { text: `${message}. To mend it: ${remedy}` },
    locations: [where],
    // Without the line: the same finding in a file that was edited above it.
    partialFingerprints: { 'kvx/v1': digestOf([rule, fromHere(path), message]) },
  }
}

function digestOf(parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex')
}

/** JUnit's XML: a test case for each file that was looked at, a failure for each finding. */
export function junit({ findings, checked }: CheckResult): string {
  const paths = [...new Set([...checked.map(({ path }) => path), ...findings.map(({ path }) => path)])]
  const cases = paths.flatMap((path) =>
    junitCases(
      path,
      findings.filter((one) => one.path === path),
    ),
  )
  const failures = findings.filter(({ severity }) => severity === 'error').length
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="kvx check" tests="${cases.length}" failures="${failures}">`,
    `  <testsuite name="kvx check" tests="${cases.length}" failures="${failures}">`,
    ...cases,
    '  </testsuite>',
    '</testsuites>',
  ].join('\n')
}

function junitCases(path: string, findings: readonly Finding[]): readonly string[] {
  const name = xml(path)
  if (findings.length === 0) return [`    <testcase classname="kvx.check" name="${name}"/>`]
  return findings.map(({ rule, severity, line, message, remedy }) => {
    const place = line === undefined ? '' : `:${line}`
    const text = xml(`${path}${place}: ${message}\n${remedy}`)
    const head = `    <testcase classname="kvx.check.${rule}" name="${name}${place}">`
    const body =
      severity === 'error'
        ? `<failure type="${rule}" message="${xml(message)}">${text}</failure>`
        : `<system-out>${text}</system-out>`
    return `${head}${body}</testcase>`
  })
}

function xml(text: string): string {
  const signs: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  return text.replaceAll(/[&<>"]/g, (sign) => signs[sign] ?? sign).replaceAll('\n', '&#10;')
}

/** Workflow commands of GitHub Actions, which become annotations at the lines. */
export function github({ findings }: CheckResult): readonly string[] {
  return findings.map((finding) => {
    const { rule, severity, path, line, message, remedy } = finding
    const place = isFile(finding)
      ? [`file=${property(fromHere(path))}`, ...(line === undefined ? [] : [`line=${line}`])]
      : []
    const head = [...place, `title=${property(`kvx ${rule}`)}`].join(',')
    return `::${severity} ${head}::${command(`${message}. To mend it: ${remedy}`)}`
  })
}

function command(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function property(text: string): string {
  return command(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
}
