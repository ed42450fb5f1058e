import { isKvxError, KvxError } from '../../src/core/errors.ts'
import { checkValueOf } from '../../src/core/fingerprint.ts'
import { materialPath } from '../../src/keyring/home.ts'
import { makeRegisteredKey } from '../../src/keyring/make-key.ts'
import { configuredKey, openWorkspace } from '../../src/keyring/workspace.ts'
import { rememberPublications } from '../../src/migration/publications.ts'
import { groupName, userName } from '../../src/platform/accounts.ts'
import { quotedPath } from '../../src/platform/file-errors.ts'
import { modeText } from '../../src/platform/file-facts.ts'
import { lstatFacts } from '../../src/platform/files.ts'
import type { MadeKey } from '../../src/ui/keygen-view.ts'
import type { KeygenFlags, purposes } from './keygen-flags.ts'

const homeMode = 0o600

/** Registers version 1 of a key that the configuration names, and publishes it. */
export async function registeredKey(name: string, flags: KeygenFlags): Promise<MadeKey> {
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
