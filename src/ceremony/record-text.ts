import { digestLines, digestOfHex, type Digest } from './digest.ts'
import type { CeremonyRecord } from './record.ts'

/** The record for people. What is signed is `record.json`; this says the same. */
export function renderRecord(record: CeremonyRecord, digest: Digest): string {
  const mark = record.rehearsal ? 'REHEARSAL. Nothing in this record is real. ' : ''
  return [
    `# ${mark}Record: ${record.title}`,
    '',
    `    ceremony  ${record.ceremony} (${record.kind})`,
    `    nonce     ${record.nonce}`,
    `    result    ${record.result}, ${deviationCount(record)}`,
    `    from      ${record.started} to ${record.ended}`,
    `    at        ${record.location}`,
    `    machine   ${record.host}, Node ${record.node}, kvx ${record.kvx.version}`,
    `    image     ${record.osImage ?? 'not stated'}`,
    `    network   ${record.network.join(', ') || 'none'}`,
    `    clock     ${record.clock}`,
    '',
    `${mark}SHA-256 of this record (\`sha256sum record.json\`):`,
    '',
    ...digestLines(digest, '    '),
    '',
    `${mark}SHA-256 of the plan:`,
    '',
    ...digestLines(record.plan, '    '),
    '',
    `## ${mark}People`,
    '',
    ...record.roles.map(
      ({ role, name, openpgp, identified }) =>
        `- ${role}: ${name}; identified: ${identified}${openpgp === null ? '' : `; signs with ${openpgp}`}`,
    ),
    '',
    ...keyText(record, mark),
    ...shareText(record, mark),
    `## ${mark}What happened`,
    '',
    ...record.events.map(
      ({ seq, at, step, actor, kind, text, exit }) =>
        `${seq}. ${at} ${step === 0 ? '' : `step ${step}, `}${actor}: ${kind === 'deviation' ? '**deviation** ' : `${kind} `}${text}${exit === undefined ? '' : ` (exit ${exit})`}`,
    ),
    '',
    `## ${mark}Artefacts`,
    '',
    ...record.artefacts.flatMap(({ path, ...one }) => [`- ${path}`, '', ...digestLines(one, '      '), '']),
    ...(record.nextDrill === null ? [] : [`The next drill is due on ${record.nextDrill.slice(0, 10)}.`, '']),
  ].join('\n')
}

function deviationCount({ deviations }: CeremonyRecord): string {
  return deviations.length === 1 ? '1 deviation' : `${deviations.length || 'no'} deviations`
}

function keyText({ key }: CeremonyRecord, mark: string): readonly string[] {
  if (key === null) return []
  const fingerprint = digestLines(digestOfHex(key.fingerprint), '    ')
  return [`## ${mark}Key ${key.name}@${key.version}`, '', 'Fingerprint:', '', ...fingerprint, '']
}

function shareText({ shareSet }: CeremonyRecord, mark: string): readonly string[] {
  if (shareSet === null) return []
  const { set, threshold, of, state, shares, supersedes } = shareSet
  return [
    `## ${mark}Shares: set ${set}, any ${threshold} of ${of}, ${state}`,
    '',
    ...(supersedes.length === 0 ? [] : [`It takes the place of ${supersedes.join(', ')}.`, '']),
    ...shares.map(
      ({ index, custodian, digest, confirmed }) =>
        `- share ${index}: ${custodian}; digest ${digest}; ${confirmed === null ? 'not confirmed' : `confirmed ${confirmed}`}`,
    ),
    '',
  ]
}
