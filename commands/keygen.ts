import { Flags } from '@oclif/core'
import { isKvxError, KvxError } from '../src/core/errors.ts'
import { checkValueOf } from '../src/core/fingerprint.ts'
import { keyPathIn, makeBareKey, parseKeyMode, requireKeyName } from '../src/keyring/bare-key.ts'
import { makeRegisteredKey } from '../src/keyring/make-key.ts'
import { rememberPublications } from '../src/migration/publications.ts'
import { materialPath } from '../src/keyring/home.ts'
import { configuredKey, openWorkspace } from '../src/keyring/workspace.ts'
import { groupName, userName } from '../src/platform/accounts.ts'
import { quotedPath } from '../src/platform/file-errors.ts'
import { modeText } from '../src/platform/file-facts.ts'
import { lstatFacts } from '../src/platform/files.ts'
import { keygenLines, type MadeKey } from '../src/ui/keygen-view.ts'
import { argument } from './_program/arguments.ts'
import { KvxCommand, type Outcome } from './_program/kvx-command.ts'

const purposes = ['kek', 'data', 'vault'] as const
const homeMode = 0o600

type KeygenFlags = {
  readonly dir?: string | undefined
  readonly out?: string | undefined
  readonly encoding?: 'raw' | 'base64' | 'base64url' | 'hex' | undefined
  readonly mode?: string | undefined
  readonly owner?: string | undefined
  readonly group?: string | undefined
  readonly reader?: readonly string[] | undefined
  readonly purpose?: (typeof purposes)[number] | undefined
  readonly config?: string | undefined
  readonly home?: string | undefined
  readonly 'dry-run'?: boolean
}

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
          ? await registeredKey(args.name, flags)
          : await bareKey(args.name, flags)
      return outcomeOf(key, flags.purpose)
    })
  }
}

function outcomeOf(key: MadeKey, purpose: string | undefined): Outcome {
  return { data: { ...key, ...(purpose === undefined ? {} : { purpose }) }, lines: keygenLines(key) }
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

async function registeredKey(name: string, flags: KeygenFlags): Promise<MadeKey> {
  const declared = ['encoding', 'mode', 'owner', 'group', 'reader'] as const
  const extra = declared.find((flag) => flags[flag] !== undefined)
  if (extra !== undefined) {
    throw new KvxError('USAGE', `--${extra} is for a bare file; the configuration declares it for its keys`, {
      hint: `Say where the file goes: \`kvx keygen ${name} --dir DIR\`, or leave --${extra} out.`,
    })
  }
  const workspace = await openWorkspace(flags).catch((error: unknown) => {
    throw bothWays(error, name, flags)
  })
  requirePurpose(name, configuredPurpose(workspace.config, name, flags), flags.purpose)
  const { registered, places } = await makeRegisteredKey(workspace, name, flags['dry-run'] === true)
  if (flags['dry-run'] !== true) await rememberPublications(workspace)
  const path = materialPath(workspace.home, name, 1)
  const facts = await lstatFacts(path)
  const uid = facts?.uid ?? process.geteuid?.() ?? 0
  const gid = facts?.gid ?? process.getegid?.() ?? 0
  return {
    name,
    version: registered?.version ?? 1,
    path,
    encoding: 'raw',
    fingerprint: registered?.fingerprint ?? null,
    checkValue: registered === undefined ? null : checkValueOf(registered.fingerprint),
    mode: modeText(facts?.mode ?? homeMode),
    owner: (await userName(uid)) ?? String(uid),
    group: (await groupName(gid)) ?? String(gid),
    readers: [],
    registered: true,
    published: places.map(({ place }) => place),
    dryRun: flags['dry-run'] === true,
  }
}

function configuredPurpose(
  config: Parameters<typeof configuredKey>[0],
  name: string,
  flags: KeygenFlags,
): (typeof purposes)[number] {
  try {
    return configuredKey(config, name).purpose
  } catch (error) {
    throw bothWays(error, name, flags)
  }
}

function requirePurpose(name: string, declared: string, wanted: string | undefined): void {
  if (wanted === undefined || wanted === declared) return
  throw new KvxError('USAGE', `the configuration says that ${name} is a ${declared} key, not ${wanted}`, {
    hint: 'Leave --purpose out, or change the configuration.',
  })
}

/** A key needs a place: the configuration's, or one that is named. */
function bothWays(error: unknown, name: string, flags: KeygenFlags): unknown {
  const isNamed = flags.config !== undefined || !['', undefined].includes(process.env['KVX_CONFIG'])
  const isMissing = isKvxError(error, 'CONFIG_NOT_FOUND') && !isNamed
  if (!isMissing && !isKvxError(error, 'KEY_UNKNOWN')) return error
  const quoted = quotedPath(name)
  return new KvxError(error.code, `${error.message}, so that there is no place for ${name}`, {
    hint: `Make a bare file: \`kvx keygen ${quoted} --dir DIR\`. Or name the key under \`keys:\` in a configuration: \`kvx init\`, then \`kvx keygen ${quoted}\`.`,
  })
}
