import { manifest } from 'virtual:manifest'
import { kvxVersion as version } from '../../src/version.ts'
import { asksForEverything, rootHelp, withHelpFlag } from './help.ts'

/** What needs no command comes without the argument parser, which takes as long to load as Node itself. */
async function main(argv: readonly string[]): Promise<void> {
  if (argv[0] === '--version') {
    process.stdout.write(`kvx/${version} ${process.platform}-${process.arch} node-${process.version}\n`)
  } else if (asksForEverything(argv)) {
    process.stdout.write(rootHelp(manifest.commands, version, process.stdout))
  } else {
    const { runProgram } = await import('./program.ts')
    await runProgram(withHelpFlag(argv))
  }
}

main(process.argv.slice(2)).catch(async (error: unknown) => {
  const { reportFailure } = await import('./failure.ts')
  reportFailure(error)
})
