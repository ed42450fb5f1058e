import * as Flags from '@oclif/core/flags'
import { keyPathIn, makeBareKey, parseKeyMode, requireKeyName } from '../src/keyring/bare-key.ts'
import { keygenLines, type MadeKey } from '../src/ui/keygen-view.ts'
import { argument } from './_program/arguments.ts'
import { type KeygenFlags, purposes } from './_program/keygen-flags.ts'
import { KvxCommand, type Outcome } from './_program/kvx-command.ts'

export default class Keygen extends KvxCommand {
  static override summary = 'Make a new key.'
  static override description = [
    'With --dir or --out: a bare file of 32 random bytes, 0640, with an ACL entry for each reader, never over an existing file. It needs no configuration and no ring knows it. The owner of the directory, or root, can make it; the directory and its parents must be writable by nobody else.',
    'Without them: version 1 of a key that the configuration names, registered in the home (0600) and published as the configuration declares.',
  ].join('\n\n')
  static override examples = [
    {
      description: 'A KVCrypt key that the group tk-readers can read',
      command: '<%= config.bin %> keygen tk --dir /opt/coord/.sys --reader tk-readers',
    },
    {
      description: 'A base64 key for the service rcrt alone',
      command:
        '<%= config.bin %> keygen kek --out /etc/rcrt/kek.key --encoding base64 --owner rcrt --group rcrt --mode 0400',
    },
    {
      description: 'See what would be made, and write nothing',
      command: '<%= config.bin %> keygen tk --dir /opt/coord/.sys --dry-run',
    },
    {
      description: 'A key of the configuration: registered, then published to its places',
      command: '<%= config.bin %> keygen master --config /etc/kvx/kvx.yaml',
    },
  ]
  static override args = { name: argument({ description: 'the name of the key', required: true }) }
  static override flags = {
    dir: Flags.string({
      description: 'make DIR/NAME.key; DIR must exist',
      helpValue: 'DIR',
      exclusive: ['out'],
      helpGroup: 'BARE FILE',
    }),
    out: Flags.string({ description: 'make this file', helpValue: 'FILE', helpGroup: 'BARE FILE' }),
    encoding: Flags.option({
      description:
        'how the bytes are written (default raw). No line break follows a text: a program that reads the file gets the key and nothing else; for a line, use `echo "$(cat FILE)"`',
      options: ['raw', 'base64', 'base64url', 'hex'] as const,
      helpGroup: 'BARE FILE',
    })(),
    mode: Flags.string({
      description: '0640 (default), 0600, 0440 or 0400; exact under any umask and default ACL',
      helpValue: '0640',
      helpGroup: 'BARE FILE',
    }),
    owner: Flags.string({
      description: 'name or number of the owner (default: who runs kvx)',
      helpValue: 'USER',
      helpGroup: 'BARE FILE',
    }),
    group: Flags.string({
      description: 'name or number of the owning group',
      helpValue: 'GROUP',
      helpGroup: 'BARE FILE',
    }),
    reader: Flags.string({
      description: 'a group that gets the ACL entry group:GROUP:r--; can be given more than once',
      helpValue: 'GROUP',
      multiple: true,
      multipleNonGreedy: true,
      helpGroup: 'BARE FILE',
    }),
    purpose: Flags.option({
      description: 'what the key is for; must be what the configuration says where it names the key',
      options: purposes,
    })(),
  }

  async run(): Promise<void> {
    await this.finish('kvx.keygen/1', async () => {
      const { args, flags } = await this.parse(Keygen)
      requireKeyName(args.name)
      const key =
        flags.dir === undefined && flags.out === undefined
          ? await registered(args.name, flags)
          : await bareKey(args.name, flags)
      return outcomeOf(key, flags.purpose)
    })
  }
}

function outcomeOf(key: MadeKey, purpose: string | undefined): Outcome {
  return { data: { ...key, ...(purpose === undefined ? {} : { purpose }) }, lines: keygenLines(key) }
}

/** A bare key, as in a start script, does not wait for what reads configurations and keyrings. */
async function registered(name: string, flags: KeygenFlags): Promise<MadeKey> {
  const { registeredKey } = await import('./_program/registered-key.ts')
  return registeredKey(name, flags)
}

async function bareKey(name: string, flags: KeygenFlags): Promise<MadeKey> {
  const { dir, out, owner, group, encoding = 'raw' } = flags
  const access = {
    mode: parseKeyMode(flags.mode ?? '0640'),
    readers: flags.reader ?? [],
    ...(owner === undefined ? {} : { owner }),
    ...(group === undefined ? {} : { group }),
  }
  const path = out ?? keyPathIn(dir ?? '', name)
  const made = await makeBareKey({ name, path, encoding, access }, flags['dry-run'] === true)
  return {
    name,
    version: null,
    ...made,
    encoding,
    registered: false,
    published: [],
    dryRun: flags['dry-run'] === true,
  }
}
