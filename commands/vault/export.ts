import { dirname, resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { KvxError } from '../../src/core/errors.ts'
import { writeStdout, writeStreamed } from '../../src/platform/stream-file.ts'
import { checkDirectoryTrust } from '../../src/platform/trust.ts'
import type { VaultContent } from '../../src/vault/vaults.ts'
import { exportedLines } from '../../src/ui/vault-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { openNamedVault, readNamedVault, vaultFlags } from './_vault.ts'

export default class VaultExport extends KvxCommand {
  static override summary = 'Give the whole plaintext of a vault out as JSON.'
  static override description =
    'Streams, whatever its size: to a new file of mode 0600 that gets its name when the last byte was verified, or verified first and then to standard output, which must not be a terminal.'
  static override examples = [
    { description: 'To a file', command: '<%= config.bin %> vault export tk --out /secure/tk.json' },
    { description: 'To a program', command: '<%= config.bin %> vault export tk | jq keys' },
  ]
  static override args = { vault: argument({ description: 'the vault', required: true }) }
  static override flags = {
    ...vaultFlags,
    out: Flags.string({ description: 'a new file; standard output for - or without it', helpValue: 'FILE' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.vault.export/1', async () => {
      const { args, flags } = await this.parse(VaultExport)
      const out = flags.out === undefined || flags.out === '-' ? undefined : resolve(flags.out)
      if (out === undefined) refuseStdout(flags.json)
      const named = await openNamedVault(args.vault, flags)
      const { result, generation } = await readNamedVault(named, async (content) => {
        if (flags['dry-run']) await verified(content)
        else if (out === undefined) await toStdout(content)
        else await toFile(content, out)
        return content.length
      })
      const written = !flags['dry-run']
      return {
        data: {
          vault: args.vault,
          generation: String(generation),
          bytes: result,
          file: written ? (out ?? null) : null,
        },
        lines:
          out === undefined && written ? [] : exportedLines(args.vault, result, written ? out : undefined),
      }
    })
  }
}

function refuseStdout(json: boolean): void {
  if (json) {
    throw new KvxError('USAGE', 'the plaintext and the JSON document would both go to standard output', {
      hint: 'Name a file with `--out FILE`, or leave `--json` out.',
    })
  }
  if (!process.stdout.isTTY) return
  throw new KvxError(
    'NO_TERMINAL',
    'standard output is a terminal: the whole vault would stay on the screen',
    {
      hint: 'Name a file with `--out FILE`, or pipe it into a program.',
    },
  )
}

async function verified(content: VaultContent): Promise<void> {
  for await (const _ of content.segments()) continue
}

/** Twice through the same open file: nothing is given out before the last segment was verified. */
async function toStdout(content: VaultContent): Promise<void> {
  await verified(content)
  for await (const segment of content.segments()) await writeStdout(segment)
}

async function toFile(content: VaultContent, path: string): Promise<void> {
  await checkDirectoryTrust(dirname(path))
  await writeStreamed(path, {
    expected: undefined,
    access: { mode: 0o600 },
    fill: async ({ write }) => {
      for await (const segment of content.segments()) await write(segment)
    },
  })
}
