import { commands } from 'virtual:commands'
import { kvxVersion as version } from '../../src/version.ts'

/** What needs no command comes without the argument parser, and a command without what writes help. */
async function main(argv: readonly string[]): Promise<void> {
  if (argv[0] === '--version') {
    process.stdout.write(`kvx/${version} ${process.platform}-${process.arch} node-${process.version}\n`)
    return
  }
  const words = commandWords(argv)
  const load = commands[words.join(':')]
  if (load === undefined || asksForHelp(argv)) {
    const { withoutCommand } = await import('./without-command.ts')
    return await withoutCommand(argv)
  }
  const { default: Command } = await load()
  await new Command(argv.slice(words.length)).run()
}

/** The words that name the command: as many as there are of `kvx backup create`, none where there is no such one. */
function commandWords(argv: readonly string[]): readonly string[] {
  for (let count = mostWords; count > 0; count--) {
    const words = argv.slice(0, count)
    if (Object.hasOwn(commands, words.join(':'))) return words
  }
  return []
}

const mostWords = 2

function asksForHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return (end === -1 ? argv : argv.slice(0, end)).some((word) => word === '--help' || word === '-h')
}

const words = process.argv.slice(2)
main(words).catch(async (error: unknown) => {
  const { reportFailure } = await import('./failure.ts')
  reportFailure(error, words, Object.keys(commands))
})
