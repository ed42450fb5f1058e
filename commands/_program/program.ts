import { Config, run, type Command, type Interfaces, Plugin } from '@oclif/core'
import { commands } from 'virtual:commands'
import { manifest } from 'virtual:manifest'
import { helpWidth } from '../../src/ui/columns.ts'
import { kvxVersion as version } from '../../src/version.ts'
import { programDescription, topics } from './topics.ts'

/** Commands by id from the inlined manifest; each class is its own chunk, loaded when it runs. */
class InlinedPlugin extends Plugin {
  override async load(): Promise<void> {
    await super.load()
    this.manifest = manifest
    this.hasManifest = true
    this.commands = Object.entries(manifest.commands).map(([id, command]) => ({
      ...command,
      id,
      pluginAlias: this.alias,
      pluginType: this.type,
      load: async () => this.findCommand(id, { must: true }),
    }))
    this.commandIDs = this.commands.map(({ id }) => id)
  }

  override async findCommand(id: string, options: { must: true }): Promise<Command.Class>
  override async findCommand(id: string, options?: { must: boolean }): Promise<Command.Class | undefined>
  override async findCommand(id: string): Promise<Command.Class | undefined> {
    const load = commands[id]
    if (load === undefined) return undefined
    const { default: command } = await load()
    command.id = id
    command.plugin = this
    return command
  }
}

/** Parses the words, loads the one command and runs it. */
export async function runProgram(argv: string[]): Promise<void> {
  const pjson = {
    name: 'kvx',
    version,
    description: programDescription,
    oclif: {
      bin: 'kvx',
      dirname: 'kvx',
      topicSeparator: ' ' as const,
      topics,
      additionalHelpFlags: ['-h'],
      helpOptions: { hideAliasesFromRoot: true, maxWidth: helpWidth(process.stdout) },
    },
  } as unknown as Interfaces.PJSON
  const root = __dirname
  const plugin = new InlinedPlugin({ root, isRoot: true, name: 'kvx', pjson, type: 'core' })
  await plugin.load()
  const config = new Config({ root, pjson, version, plugins: new Map([['kvx', plugin]]), userPlugins: false })
  await config.load()
  await run(argv, config)
}
