import { readKeyring } from '../../src/keyring/keyring.ts'
import { openWorkspace } from '../../src/keyring/workspace.ts'
import { keyData, keyTable } from '../../src/ui/key-view.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class KeyList extends KvxCommand {
  static override summary = 'List every key and version of the ring, with states and check values.'
  static override examples = [
    { description: 'For people', command: '<%= config.bin %> key list' },
    { description: 'For a script', command: '<%= config.bin %> key list --json' },
  ]
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.key.list/1', async () => {
      const { flags } = await this.parse(KeyList)
      const ring = await readKeyring((await openWorkspace(flags)).home)
      const keys = Object.entries(ring.keys).map(([name, key]) => keyData(name, key))
      return { data: { keys }, lines: keyTable(ring) }
    })
  }
}
