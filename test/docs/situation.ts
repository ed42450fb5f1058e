import { spawnSync } from 'node:child_process'
import { expect, type TestContext } from 'vitest'
import { needsRoot, needsTool } from '../support/needs.ts'
import {
  answered,
  type DocumentSites,
  inTerminal,
  named,
  type State,
  type Typed,
  type,
} from './document-site.ts'
import type { People } from './people.ts'

/** Where a line of the documents is typed, and what comes of it. */
export type Situation = {
  readonly lines: RegExp
  readonly state: State
  /** What was done before, in a shell. */
  readonly before?: string
  /** Without it nobody is there, and flags answer. */
  readonly people?: People
  /** Where it rightly does not end in 0. */
  readonly ends?: number
  /** Programs that not every machine has. */
  readonly needs?: readonly string[]
  /** The line is one word of this one, which makes true what it asks for; a superuser may. */
  readonly within?: string
}

function needsNamespaces(context: TestContext): void {
  needsRoot(context)
  const { status } = spawnSync('unshare', ['--mount', '--net', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'])
  if (status !== 0) context.skip('needs mounts in a namespace of its own')
}

/** Types a line at a site of its own. */
export async function play(
  context: TestContext,
  sites: DocumentSites,
  { state, before, people, ends = 0, needs = [], within }: Situation,
  line: string,
): Promise<void> {
  for (const tool of needs) needsTool(context, tool)
  if (within !== undefined) needsNamespaces(context)
  const site = await sites.copy(state)
  if (before !== undefined) {
    const { status, output } = type(site, named(site, sites, before))
    expect(status, `${before}\n${output}`).toBe(0)
  }
  const real = named(site, sites, line)
  const asTyped = people === undefined ? answered(real) : real
  const whole = within?.replace('LINE', asTyped) ?? asTyped
  const { status, output } = await end(whole, people)
  expect(status, `${whole}\n${output}`).toBe(ends)

  async function end(text: string, who: People | undefined): Promise<Typed> {
    if (who === undefined) return type(site, text)
    return await inTerminal(site, text, (terminal) => who(terminal, { site, sites }))
  }
}
