import { keyOf, readKeyring } from '../../src/keyring/keyring.ts'
import { publicationDrift } from '../../src/keyring/publish/publish.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { keyData, keyLines } from '../../src/ui/key-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class KeyShow extends KvxCommand {
  static override summary = 'Show one key: its versions, their lives, and whether published places agree.'
  static override examples = [
    { description: 'The whole life of a key', command: '<%= config.bin %> key show master' },
  ]
  static override args = { name: argument({ description: 'the key', required: true }) }

  async run(): Promise<void> {
    await this.finish('kvx.key.show/1', async () => {
      const { args, flags } = await this.parse(KeyShow)
      const workspace = await openWorkspace(flags)
      const ring = await readKeyring(workspace.home)
      const key = keyOf(ring, args.name)
      const config = workspace.config.keys[args.name]
      const drift = config === undefined ? [] : await publicationDrift(ring, args.name, config)
      return {
        data: { ...keyData(args.name, key), drift },
        lines: keyLines(args.name, key),
        warnings: drift.map((place) => ({
          code: 'PUBLICATION_DIFFERS',
          message: `${place} does not hold what the keyring says; mend it with \`kvx key publish ${args.name}\``,
        })),
      }
    })
  }
}
