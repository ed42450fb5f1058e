import { packetTags, readFraming, recipientKeyId } from '../src/backup/packets.ts'
import { inspectFile } from '../src/checks/inspect.ts'
import type { Sniffed } from '../src/checks/sniff.ts'
import { isKvxError } from '../src/core/errors.ts'
import { inspectLines } from '../src/ui/inspect-view.ts'
import { headerCheckValue, isVaultFile, parseVaultHeader } from '../src/vault/header.ts'
import { argument } from './_program/arguments.ts'
import { KvxCommand } from './_program/kvx-command.ts'

export default class Inspect extends KvxCommand {
  static override summary = 'Tell what a file is, without any key.'
  static override description =
    'Knows keys and their encodings, OpenPGP messages and their recipients, shares, keyrings, configurations, backup manifests and vaults of kvx, SQLite databases, PEM, SSH, age, JSON and JSON Web Keys, and values that look sealed. Prints no part of a content: sizes, names of formats, and public ids such as check values. Never hangs on a FIFO or device, writes nothing.'
  static override examples = [
    {
      description: 'Is this a key, and which one?',
      command: '<%= config.bin %> inspect /opt/coord/.sys/tk.key',
    },
    {
      description: 'Who can open this backup?',
      command: '<%= config.bin %> inspect /var/lib/kvx/backups/master.v1.7K3M9QZ2.asc',
    },
    {
      description: 'Which generation of the vault is this copy, and under which key?',
      command: '<%= config.bin %> inspect /mnt/backup/tk.enc',
    },
    {
      description: 'The same as JSON for a script',
      command: '<%= config.bin %> inspect /opt/coord/.sys/tk.key --json',
    },
    {
      description: 'What does this column hold? (one value, from the shell)',
      command:
        'sqlite3 app.db "select value from secrets limit 1" > value && <%= config.bin %> inspect value --json',
    },
  ]
  static override args = { file: argument({ description: 'the file', required: true }) }

  async run(): Promise<void> {
    await this.finish('kvx.inspect/1', async () => {
      const { args } = await this.parse(Inspect)
      const found = await inspectFile(args.file, { openPgp: openPgpMessage, vault: vaultFile })
      return { data: found, lines: inspectLines(found) }
    })
  }
}

/** The open header of a vault; nothing of it is proven before the body opened. */
function vaultFile(bytes: Buffer): Sniffed | undefined {
  if (!isVaultFile(bytes)) return undefined
  try {
    const { header } = parseVaultHeader(bytes, '')
    const { name, generation } = header
    const [version, suite] = [bytes[8] ?? 0, bytes[9] ?? 0]
    const facts = {
      name,
      generation: String(generation),
      checkValue: headerCheckValue(header),
      version,
      suite,
    }
    return { kind: 'kvx-vault', facts }
  } catch (error) {
    if (!isKvxError(error)) throw error
    return { kind: 'kvx-vault', facts: { problem: error.message.replace(/^.*?: /, '') } }
  }
}

/** An encrypted message by its session key packets. Random bytes are hardly ever one: all of it must fit. */
function openPgpMessage(bytes: Buffer): Sniffed | undefined {
  const isArmored = bytes.subarray(0, 65_536).includes('-----BEGIN PGP MESSAGE-----')
  const { packets, problem } = readFraming(bytes)
  const sessionKeys = packets.filter(({ tag }) => tag === packetTags.pkesk || tag === packetTags.skesk)
  if (!isArmored && (problem === 'not-openpgp' || sessionKeys.length === 0)) return undefined
  const recipients = sessionKeys.filter(({ tag, body }) => tag === packetTags.pkesk && body[0] === 3)
  return {
    kind: 'openpgp-message',
    facts: {
      armored: isArmored,
      recipients: recipients.map(recipientKeyId),
      passphrases: sessionKeys.filter(({ tag }) => tag === packetTags.skesk).length,
      integrityProtected: packets.some(({ tag }) => tag === packetTags.seipd || tag === packetTags.aead),
      problem: problem ?? '',
    },
  }
}
