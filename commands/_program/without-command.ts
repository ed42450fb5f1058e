import { summaries } from 'virtual:summaries'
import { kvxVersion as version } from '../../src/version.ts'
import { asksForEverything, rootHelp, withHelpFlag } from './help.ts'

/** Words that ask for help, or that name no command. The help of one command takes oclif, which loads slowly. */
export async function withoutCommand(argv: readonly string[]): Promise<void> {
  if (asksForEverything(argv)) {
    process.stdout.write(rootHelp(summaries, version, process.stdout))
    return
  }
  const { helpOrRefuse } = await import('./program.ts')
  await helpOrRefuse(withHelpFlag(argv))
}
