import * as Args from '@oclif/core/args'
import { completionScript, shells } from '../src/ui/completion.ts'
import { factsOf, topicFacts } from './_program/command-facts.ts'
import { KvxCommand } from './_program/kvx-command.ts'

export default class Completion extends KvxCommand {
  static override summary = 'Print a script that completes commands and flags in a shell.'
  static override description =
    'The script is static: it runs no kvx and reads no configuration. Make it again after an update.'
  static override examples = [
    { description: 'In this bash', command: 'source <(<%= config.bin %> completion bash)' },
    {
      description: 'For every user of the machine',
      command: '<%= config.bin %> completion bash > /usr/share/bash-completion/completions/kvx',
    },
    {
      description: 'For zsh, in a folder of $fpath',
      command: '<%= config.bin %> completion zsh > /usr/local/share/zsh/site-functions/_kvx',
    },
    {
      description: 'For fish',
      command: '<%= config.bin %> completion fish > ~/.config/fish/completions/kvx.fish',
    },
  ]
  static override args = {
    shell: Args.string({
      description: 'bash, zsh or fish',
      required: true,
      options: [...shells],
      ignoreStdin: true,
    }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.completion/1', async () => {
      const { args } = await this.parse(Completion)
      const shell = shells.find((one) => one === args.shell) ?? 'bash'
      const { manifest } = await import('virtual:manifest')
      const lines = completionScript(shell, factsOf(Object.values(manifest.commands)), topicFacts())
      return { data: { shell, script: `${lines.join('\n')}\n` }, lines }
    })
  }
}
