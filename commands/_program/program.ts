import { Config, type Interfaces, Plugin, run } from '@oclif/core'
import { manifest } from 'virtual:manifest'
import { helpWidth } from '../../src/ui/columns.ts'
import { kvxVersion as version } from '../../src/version.ts'
import { programDescription, topics } from './topics.ts'

/** Commands by id from the inlined manifest, which holds all that help says of them. */
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
      load: async () => Promise.reject(new Error('only main.ts runs a command')),
    }))
    this.commandIDs = this.commands.map(({ id }) => id)
  }
}

/** Prints the help of a command or a topic, or refuses words that name neither. */
export async function helpOrRefuse(argv: string[]): Promise<void> {
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
