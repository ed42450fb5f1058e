import { unreadableReasons } from '../migration/envelope/reasons.ts'
import type { Census } from '../migration/census.ts'
import { count } from './columns.ts'

/** `app.secrets  1,000 records · master@1 1,000 · random key opened 0 · unreadable 0` */
export function censusLine(key: string, census: Census): string {
  const parts = [
    `${count(census.records)} records`,
    ...[...census.byVersion].map(([version, records]) => `${key}@${version} ${count(records)}`),
    ...(census.nulls > 0 ? [`empty ${count(census.nulls)}`] : []),
    ...(census.plaintext > 0 ? [`plaintext ${count(census.plaintext)}`] : []),
    ...(census.mislabelled > 0 ? [`mislabelled ${count(census.mislabelled)}`] : []),
    // A random key that opens anything ends the scan with an error, so a finished one opened nothing.
    'random key opened 0',
    `unreadable ${count(census.unreadable)}`,
  ]
  return `${census.envelope}  ${parts.join(' · ')}`
}

const maxNamed = 20

/** The records that do not open, by name and reason. */
export function unreadableLines(census: Census): readonly string[] {
  const lines = census.named
    .slice(0, maxNamed)
    .map(({ record, reason }) => `  ${record}: ${unreadableReasons[reason]}`)
  const rest = census.unreadable - lines.length
  return rest > 0 ? [...lines, `  and ${count(rest)} more; \`--json\` names up to 1,000`] : lines
}
