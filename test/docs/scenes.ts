import type { State } from './document-site.ts'
import type { ShownLine } from './lines.ts'

/**
 * Where the lines of the documents are run: under which heading (any, without one) and in which of its blocks, on
 * an application in which state, one after the other or each on a site of its own.
 */
export type Scene = {
  readonly page: string
  readonly heading?: string
  readonly blocks?: readonly number[]
  readonly state: State
  readonly each?: boolean
  /** What was done before, in a shell; the documents say so in words. */
  readonly before?: string
  /** What is done after a line, in a shell: a person edits the configuration. */
  readonly after?: readonly [RegExp, string]
  /** The exit code of lines that rightly do not end in 0. */
  readonly ends?: readonly (readonly [RegExp, number])[]
}

type Details = Partial<Omit<Scene, 'page' | 'heading' | 'state'>>

const operations = (heading: string, state: State, details: Details = {}): Scene => ({
  page: 'docs/operations.md',
  heading,
  state,
  ...details,
})

const edited = [/kvx init/, 'cp ready.yaml kvx.yaml'] as const

/** A run that is stopped once it has begun, and says so. */
export const stopped = (command: string): string =>
  `(${command} --rate 2 --batch 1 --yes & until kvx run list | grep open || ! kill -0 $!; do sleep 0.1; done; kill -TERM $!; wait $!; test $? = 10)`

export const killed = `kvx rotate master --offline --yes && ${stopped('kvx rewrap')}`

export const policy = [
  'mkdir "$HOME/.ssh"',
  'ssh-keygen -q -t ed25519 -N "" -f "$HOME/.ssh/id_ed25519"',
  'printf "policy:\\n  approvals:\\n    required: 2\\n    for: [rewrap]\\n    approvers:\\n" >> kvx.yaml',
  'printf "      - { name: A. Boole, openpgp: RECIPIENT }\\n" >> kvx.yaml',
  'printf "      - { name: C. Dirac, ssh: \\"%s\\" }\\n" "$(cut -d" " -f1,2 "$HOME/.ssh/id_ed25519.pub")" >> kvx.yaml',
].join(' && ')

export const scenes: readonly Scene[] = [
  {
    page: 'README.md',
    heading: 'The first hour with your own application',
    state: 'bare',
    before: 'rm kvx.yaml',
    after: edited,
  },
  operations('First hour', 'bare', { before: 'rm kvx.yaml', after: edited }),
  operations('Take over a key', 'bare', { blocks: [1, 2, 3, 4], before: 'kvx init' }),
  operations('Take over a key', 'bare', { blocks: [5], before: 'kvx init' }),
  operations('Take over a key', 'taken', { blocks: [6] }),
  operations('A new key', 'keyless'),
  operations('Back up and prove it', 'taken'),
  operations('A share is lost, a custodian goes', 'saved'),
  operations('Bring a key back', 'saved', { blocks: [1, 2, 3], each: true }),
  operations('Bring a key back', 'saved', {
    blocks: [4],
    before: 'kvx backup home --out elsewhere/kvx-home.json && rm -r .kvx',
  }),
  operations('Rotate with the application stopped', 'saved'),
  operations('Rotate without downtime', 'saved'),
  operations('Rewrap beside a busy application', 'rotated'),
  operations('Something was killed', 'saved', { before: killed }),
  operations('Go back', 'saved', { before: 'kvx rotate master --offline --yes && kvx rewrap --yes' }),
  operations('Retire and destroy', 'moved'),
  operations('It says that approvals are missing', 'rotated'),
  operations('A key leaked', 'saved', { blocks: [1, 2] }),
  operations('A key leaked', 'bare', { blocks: [3], before: 'kvx init' }),
  operations('A value does not open', 'rotated'),
  operations('A vault', 'taken'),
  // The env file of the application, and the other places where its key lies open.
  operations('Check a repository', 'taken', { ends: [[/--recursive/, 3]] }),
  operations('Watch it', 'saved'),
  { page: 'docs/approvals.md', state: 'rotated', before: policy },
  { page: 'docs/evidence.md', heading: 'Verify', state: 'moved', before: 'cp .kvx/audit/audit.pub .' },
  { page: 'docs/evidence.md', heading: 'Export', state: 'moved' },
  { page: 'docs/profiles.md', state: 'bare', before: 'rm kvx.yaml' },
  // The check-list has things that are not done at this site: 1.
  { page: 'docs/templates.md', state: 'saved', ends: [[/checklist\.sh/, 1]] },
]

type Lines = { readonly page: string; readonly lines: RegExp }

/** What is parsed and not run here, and why. */
export const onlyParsed: readonly (Lines & { readonly because: string })[] = [
  {
    page: 'docs/operations.md',
    lines: /'(vault|aws|op) |"kubectl /,
    because: 'services and a cluster that no machine has by itself: test/scenarios/key-programs.test.ts',
  },
]

/** Lines that custodians answer, or that need another program: each at a site of its own, as the examples. */
export const alone: readonly Lines[] = [
  {
    page: 'docs/operations.md',
    lines: /KVXDEM|--from (shares|ssss|vault)|backup (drill|reshare) |pass show|docker-secret:/,
  },
  { page: 'docs/ceremonies.md', lines: /kvx ceremony / },
]

export function sceneOf({ page, heading, block }: ShownLine): Scene | undefined {
  return scenes.find(
    (scene) =>
      scene.page === page &&
      (scene.heading === undefined || scene.heading === heading) &&
      (scene.blocks === undefined || scene.blocks.includes(block)),
  )
}

export function isIn(some: readonly Lines[], { page, line }: ShownLine): boolean {
  return some.some((one) => one.page === page && one.lines.test(line))
}
