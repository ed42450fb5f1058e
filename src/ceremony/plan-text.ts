import { digestLines, type Digest } from './digest.ts'
import type { Plan, PlanStep } from './plan.ts'

/** `@set@` and `@newest@` are known only when they were made. */
export function shownCommand(words: readonly string[]): string {
  return words.map((word) => ({ '@set@': 'SET', '@newest@': 'NAME@VERSION' })[word] ?? word).join(' ')
}

const blank = (width: number): string => '_'.repeat(width)

/** The printable script: numbered steps with room for initials and times. Each page can be read by itself. */
export function renderPlan(plan: Plan, digest: Digest): string {
  return [
    `# ${plan.title}`,
    '',
    `    ceremony  ${plan.id}`,
    `    nonce     ${plan.nonce.replaceAll(/(.{4})(?=.)/g, '$1 ')}`,
    `    kind      ${plan.kind}`,
    `    key       ${plan.key}`,
    `    made      ${plan.created} with kvx ${plan.kvx.version}`,
    '',
    'SHA-256 of the plan (`plan.yaml`). It is read aloud from this page and from the screen before the first step:',
    '',
    ...digestLines(digest, '    '),
    '',
    `    Date: ${blank(14)}   Place: ${blank(34)}`,
    '',
    '## People',
    '',
    ...plan.roles.flatMap((role) => [
      `- **${role.role}**: ${role.duty}`,
      '',
      `        Name: ${role.name ?? blank(30)}   Initials: ${blank(8)}`,
      ...(role.openpgp === null ? [] : [`        Signs with ${role.openpgp}`]),
      '',
    ]),
    '## Rules',
    '',
    '- Nobody photographs or films a screen or a card. Telephones stay outside.',
    '- Who is named in a step does it; the witness initials it and writes the time down.',
    '- Anything that is not as it stands here is a deviation. It is written down, even when it seems to be nothing.',
    '- A step is skipped only with a reason.',
    '',
    '## Steps',
    '',
    ...plan.steps.flatMap((step, at) => stepText(step, at + 1)),
    '## At the end',
    '',
    'SHA-256 of the record, as the screen shows it (the first four words are enough to find a mix-up):',
    '',
    `    ${blank(18)} ${blank(18)} ${blank(18)} ${blank(18)}`,
    '',
    'Deviations:',
    '',
    `    ${blank(80)}`,
    '',
    `    ${blank(80)}`,
    '',
    'Signatures of everybody who was there:',
    '',
    ...plan.roles.flatMap((role) => [`    ${role.role.padEnd(24)} ${blank(50)}`, '']),
  ].join('\n')
}

function stepText(step: PlanStep, number: number): readonly string[] {
  return [
    `### ${number}. ${step.title}`,
    '',
    `*${step.role}*`,
    '',
    ...(step.text === '' ? [] : [step.text, '']),
    ...(step.run === undefined ? [] : [`    kvx ${shownCommand(step.run)}`, '']),
    ...(step.expect === undefined ? [] : [`Expected: ${step.expect}`, '']),
    ...Object.values(step.ask).flatMap((question) => [`${question}: ${blank(40)}`, '']),
    `    Initials: ${blank(8)}   Time (UTC): ${blank(10)}   Deviation: ${blank(30)}`,
    '',
  ]
}
