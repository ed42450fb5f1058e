import { resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { openStreamReader, streamFrom, streamStdin } from '../../src/platform/stream-file.ts'
import { exists } from '../../src/platform/files.ts'
import { checkedContent } from '../../src/vault/members.ts'
import { vaultPath } from '../../src/vault/vaults.ts'
import { writeVault } from '../../src/vault/write-vault.ts'
import { confirmTyped } from '../../src/ui/prompts.ts'
import { writtenLines } from '../../src/ui/vault-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'
import { backupWarnings, changeVault, openNamedVault, vaultFlags } from './_vault.ts'

export default class VaultImport extends KvxCommand {
  static override summary = 'Make a vault of a JSON object, in place of what it held.'
  static override description =
    'Streams, whatever its size. The object is checked as it passes (UTF-8, no duplicate members); the vault changes only when all of it was taken, sealed, read back and opened. Asks for the name of a vault that exists already.'
  static override examples = [
    { description: 'From a file', command: '<%= config.bin %> vault import tk --from /secure/tk.json' },
    {
      description: 'From another machine, over the old content',
      command: 'ssh host kvx vault export tk | <%= config.bin %> vault import tk --confirm tk',
    },
  ]
  static override args = { vault: argument({ description: 'the vault', required: true }) }
  static override flags = {
    ...vaultFlags,
    from: Flags.string({ description: 'a file; standard input for - or without it', helpValue: 'FILE' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.vault.import/1', async () => {
      const { args, flags } = await this.parse(VaultImport)
      const named = await openNamedVault(args.vault, flags)
      if ((await exists(vaultPath(named.vault))) && !flags['dry-run']) {
        await confirmTyped(`Replace all of the vault ${args.vault}?`, args.vault, answersOf(flags))
      }
      let bytes = 0
      const source = counted(checkedContent(sourceOf(flags.from)), (length) => (bytes += length))
      if (flags['dry-run']) {
        for await (const _ of source) continue
        const data = { vault: args.vault, bytes, generation: null }
        return { data, lines: [`${bytes} bytes of JSON can be imported; nothing was written`] }
      }
      const { generation } = await changeVault(named, 'import', async () => {
        const done = await writeVault(named.vault, () => source)
        return { result: undefined, generation: done?.generation }
      })
      return {
        data: { vault: args.vault, bytes, generation: String(generation) },
        lines: writtenLines(args.vault, generation, `${bytes} bytes imported`),
        warnings: await backupWarnings(named),
      }
    })
  }
}

async function* sourceOf(from: string | undefined): AsyncGenerator<Buffer> {
  if (from === undefined || from === '-') {
    yield* streamStdin()
    return
  }
  const reader = await openStreamReader(resolve(from), true)
  try {
    yield* streamFrom(reader)
  } finally {
    await reader.close()
  }
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  count: (length: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    count(piece.length)
    yield piece
  }
}
