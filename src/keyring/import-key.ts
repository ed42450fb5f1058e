import { withIntent } from '../audit/with-intent.ts'
import type { KeyConfig } from '../config/schema.ts'
import { KvxError } from '../core/errors.ts'
import { decodeKey, type KeyEncoding } from '../core/key-encoding.ts'
import type { Secret } from '../core/secret.ts'
import { readFileCapped } from '../platform/files.ts'
import { readStdin } from '../platform/stdin.ts'
import { fingerprintOf } from '../core/fingerprint.ts'
import type { KeyState } from '../core/key-state.ts'
import { readKeyring, versionsOf } from './keyring.ts'
import { hasMaterial } from './material.ts'
import { envFilePublisher } from './publish/env-file.ts'
import { makePublisher } from './publish/publish.ts'
import { registerVersion, type Registered } from './register.ts'
import { configuredKey, type Workspace } from './workspace.ts'
import { keyLengths } from './key-lengths.ts'

const maxKeyFileBytes = 65_536

export type ImportRequest = {
  readonly name: string
  /** `file:P`, `env-file:P#VAR`, `stdin`; the first published place when undefined. */
  readonly from: string | undefined
  readonly version: number | undefined
  readonly encoding: KeyEncoding | undefined
  readonly dryRun: boolean
}

export type Imported = {
  readonly name: string
  readonly versions: readonly (Registered & { readonly state: KeyState })[]
  readonly warnings: readonly { readonly code: string; readonly message: string }[]
}

type Found = {
  readonly current: Secret | undefined
  readonly previous: Secret | undefined
  readonly warnings: Imported['warnings']
}

/**
 * Takes over what an application already has. Published files are not touched. Where the previous slot is
 * filled too, it becomes the first version (deactivated) and the current one the second (active).
 * @throws INPUT_EMPTY, KEY_MALFORMED, KEY_EXISTS, KEY_REUSED
 */
export async function importKey(workspace: Workspace, request: ImportRequest): Promise<Imported> {
  const config = configuredKey(workspace.config, request.name)
  const found = await readSource(request, config)
  try {
    if (found.current === undefined) throw emptySource(request)
    const known = await knownAlready(workspace, request, found)
    if (known !== undefined) return { name: request.name, versions: known, warnings: found.warnings }
    const plan = numbered(request, found, await alreadyThere(workspace, request.name))
    if (request.dryRun) return { name: request.name, versions: [], warnings: found.warnings }
    const intent = {
      action: 'key.import',
      subject: request.name,
      data: { versions: plan.map(({ version }) => String(version)) },
    }
    return await withIntent(workspace.audit, intent, async () => {
      const versions: Imported['versions'][number][] = []
      for (const { version, material, state } of plan) {
        const registered = await registerVersion(workspace, {
          name: request.name,
          purpose: config.purpose,
          version,
          material,
          origin: 'import',
          state,
          rollout: 'import',
          previousSlot: found.previous !== undefined && state === 'deactivated',
          reason: 'taken over from the application',
        })
        versions.push({ ...registered, state })
      }
      return { name: request.name, versions, warnings: found.warnings }
    })
  } finally {
    found.current?.wipe()
    found.previous?.wipe()
  }
}

/** The same bytes again are nothing to do, whichever versions they are: a staged one, or those of a rollback. */
async function knownAlready(
  workspace: Workspace,
  request: ImportRequest,
  found: Found,
): Promise<Imported['versions'] | undefined> {
  const { name } = request
  const key = (await readKeyring(workspace.home)).keys[name]
  if (key === undefined || request.version !== undefined) return undefined
  const known: Imported['versions'][number][] = []
  for (const material of [found.previous, found.current]) {
    if (material === undefined) continue
    const fingerprint = fingerprintOf(material)
    const entry = versionsOf(key).find(([, record]) => record.fingerprint === fingerprint)
    if (entry === undefined) return undefined
    const [version, { canary, state }] = entry
    if (canary === null || !(await hasMaterial(workspace.home, name, version))) return undefined
    known.push({ version, fingerprint, changed: false, state })
  }
  return known.at(-1)?.version === key.seals ? known : undefined
}

async function alreadyThere(workspace: Workspace, name: string): Promise<number | null> {
  return (await readKeyring(workspace.home)).keys[name]?.seals ?? null
}

type Numbered = {
  readonly version: number
  readonly material: Secret
  readonly state: 'active' | 'deactivated'
}

function numbered(request: ImportRequest, found: Found, seals: number | null): readonly Numbered[] {
  if (found.current === undefined) return []
  if (found.previous === undefined) {
    const version = request.version ?? seals ?? 1
    // A key imported beside one that seals already is an older one of the application: it opens only.
    const state = seals === null || seals === version ? 'active' : 'deactivated'
    return [{ version, material: found.current, state }]
  }
  const version = request.version ?? seals ?? 2
  if (version < 2) {
    throw new KvxError(
      'USAGE',
      'the previous slot is filled too, so the current key needs a version of 2 or more',
      {
        hint: 'Give the application’s own number with `--version N`; the previous one becomes N-1.',
      },
    )
  }
  return [
    { version: version - 1, material: found.previous, state: 'deactivated' },
    { version, material: found.current, state: 'active' },
  ]
}

async function readSource(request: ImportRequest, config: KeyConfig): Promise<Found> {
  const { from } = request
  if (from === undefined) return fromPublished(request, config)
  if (from === 'stdin') return decoded(await readStdin(maxKeyFileBytes), request, config)
  if (from.startsWith('file:')) {
    const { bytes } = await readFileCapped(from.slice('file:'.length), {
      maxBytes: maxKeyFileBytes,
      follow: true,
    })
    return decoded(bytes, request, config)
  }
  const variable = /^env-file:(.+)#([A-Za-z_][A-Za-z0-9_]*)$/.exec(from)
  if (variable?.[1] !== undefined && variable[2] !== undefined) {
    return fromVariable(variable[1], variable[2], request, config)
  }
  throw new KvxError('USAGE', 'the source of a key is file:PATH, env-file:PATH#VARIABLE or stdin', {
    hint: `For example \`kvx key import ${request.name} --from env-file:/etc/app.env#KEK --encoding base64\`.`,
  })
}

async function fromPublished(request: ImportRequest, config: KeyConfig): Promise<Found> {
  const [first] = config.publish
  if (first === undefined) {
    throw new KvxError(
      'USAGE',
      `${request.name} is published nowhere, so there is no place to take it from`,
      {
        hint: `Name it: \`kvx key import ${request.name} --from file:PATH --encoding base64\`.`,
      },
    )
  }
  const publisher = makePublisher(
    request.encoding === undefined ? first : withEncoding(first, request.encoding),
  )
  return {
    current: await publisher.readSlot('current'),
    previous: await publisher.readSlot('previous'),
    warnings: [],
  }
}

function withEncoding(
  place: KeyConfig['publish'][number],
  encoding: KeyEncoding,
): KeyConfig['publish'][number] {
  if (!('env-file' in place)) return { ...place, encoding }
  if (encoding === 'raw') {
    throw new KvxError('USAGE', 'an env file holds text: its encoding is base64, base64url, hex or ascii')
  }
  return { ...place, encoding }
}

async function fromVariable(
  path: string,
  variable: string,
  request: ImportRequest,
  config: KeyConfig,
): Promise<Found> {
  const encoding = request.encoding ?? declaredEncoding(config) ?? 'base64'
  if (encoding === 'raw') {
    throw new KvxError('USAGE', 'an env file holds text: its encoding is base64, base64url, hex or ascii')
  }
  const publisher = envFilePublisher({ 'env-file': path, current: variable, encoding, instances: 1 })
  return { current: await publisher.readSlot('current'), previous: undefined, warnings: [] }
}

function declaredEncoding(config: KeyConfig): KeyEncoding | undefined {
  return config.publish[0]?.encoding
}

function decoded(bytes: Buffer, request: ImportRequest, config: KeyConfig): Found {
  try {
    if (bytes.length === 0) throw emptySource(request)
    const encoding = request.encoding ?? declaredEncoding(config) ?? 'raw'
    const { material, warnings } = decodeKey(bytes, encoding, keyLengths(encoding))
    return { current: material, previous: undefined, warnings }
  } finally {
    bytes.fill(0)
  }
}

function emptySource(request: ImportRequest): KvxError {
  return new KvxError('INPUT_EMPTY', `there is no key in ${request.from ?? 'the published place'}`, {
    hint: `Name where it lies: \`kvx key import ${request.name} --from file:PATH\`, \`env-file:PATH#VARIABLE\` or \`stdin\`.`,
  })
}
