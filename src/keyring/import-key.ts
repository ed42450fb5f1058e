import { withIntent } from '../audit/with-intent.ts'
import type { Secret } from '../core/secret.ts'
import { KvxError } from '../core/errors.ts'
import type { KeyEncoding } from '../core/key-encoding.ts'
import { fingerprintOf } from '../core/fingerprint.ts'
import type { KeyState } from '../core/key-state.ts'
import { emptySource, type FoundKey, readKeySource } from './key-source.ts'
import { activate, changeKeyring, readKeyring, versionsOf } from './keyring.ts'
import { hasMaterial } from './material.ts'
import { riskOf } from './source-risk.ts'
import { refuseCollision, registerVersion, type Registered } from './register.ts'
import { configuredKey, type Workspace } from './workspace.ts'

export type ImportRequest = {
  readonly name: string
  /** As `keySources` says; the first published place when undefined. */
  readonly from: string | undefined
  /** A program that prints the key, as typed: `--from command` and no other source. */
  readonly keyCommand: string | undefined
  readonly version: number | undefined
  /** It seals from now on, in place of the version that did: the application has it and uses it. */
  readonly seals: boolean
  readonly encoding: KeyEncoding | undefined
  /** Why a weak key, or one that others could have written, is taken all the same; recorded. */
  readonly acceptedRisk: string | undefined
  /** Whether data of the application opens under one of these keys, which is reason enough. */
  readonly opensData: (keys: readonly Secret[]) => Promise<boolean>
  readonly dryRun: boolean
}

export type Imported = {
  readonly name: string
  readonly versions: readonly (Registered & { readonly state: KeyState })[]
  readonly warnings: readonly { readonly code: string; readonly message: string }[]
}

/**
 * Takes over what an application already has. Published files are not touched. Where the previous slot is
 * filled too, it becomes the first version (deactivated) and the current one the second (active).
 * @throws INPUT_EMPTY, KEY_MALFORMED, KEY_WEAK, UNSAFE_MODE, KEY_EXISTS, KEY_REUSED
 */
export async function importKey(workspace: Workspace, request: ImportRequest): Promise<Imported> {
  const config = configuredKey(workspace.config, request.name)
  const found = await readKeySource(request, config)
  try {
    if (found.current === undefined) throw emptySource(request, found.place)
    const known = await knownAlready(workspace, request, found)
    if (known !== undefined) return { name: request.name, versions: known, warnings: found.warnings }
    const risk = await riskOf(found)
    const reason = risk === undefined ? undefined : await acceptance(request, found)
    if (risk !== undefined && reason === undefined) throw risk
    const warnings = [...found.warnings, ...acceptedWarning(risk, request.name)]
    const seals = await alreadyThere(workspace, request.name)
    const plan = numbered(request, found, seals)
    if (request.seals) requireNewer(request, seals)
    await refuseKnown(workspace, request.name, plan)
    if (request.dryRun) return { name: request.name, versions: [], warnings }
    const intent = {
      action: 'key.import',
      subject: request.name,
      data: {
        versions: plan.map(({ version }) => String(version)),
        ...(risk === undefined ? {} : { risk: risk.code, accepted: reason ?? '' }),
      },
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
      const sealing = request.seals ? await takeOver(workspace, request, versions) : versions
      return { name: request.name, versions: sealing, warnings }
    })
  } finally {
    found.current?.wipe()
    found.previous?.wipe()
  }
}

/** Why a key is taken over in spite of its risk; undefined when nobody said so and nothing proves it. */
async function acceptance(request: ImportRequest, found: FoundKey): Promise<string | undefined> {
  if (request.acceptedRisk !== undefined) return request.acceptedRisk
  const keys = [found.current, found.previous].filter((key) => key !== undefined)
  return (await request.opensData(keys)) ? 'values of the application open under it' : undefined
}

function acceptedWarning(risk: KvxError | undefined, name: string): Imported['warnings'] {
  if (risk === undefined) return []
  const message = `${risk.message}; it is taken all the same, since data lies under it. Rotate it soon: \`kvx rotate ${name}\``
  return [{ code: risk.code, message }]
}

/** Before the log hears of anything: keys and numbers that are taken. @throws KEY_EXISTS, KEY_REUSED */
async function refuseKnown(workspace: Workspace, name: string, plan: readonly Numbered[]): Promise<void> {
  const ring = await readKeyring(workspace.home)
  for (const { version, material, state } of plan)
    refuseCollision(ring, { name, version, state }, fingerprintOf(material))
}

/** A version that the application made and uses begins to seal; the one before it opens only. Repeatable. */
async function takeOver(
  workspace: Workspace,
  { name, version }: ImportRequest,
  versions: Imported['versions'],
): Promise<Imported['versions']> {
  await changeKeyring(workspace.home, (ring) => {
    if (version !== undefined) activate(ring, name, version, 'the application seals with it')
  })
  return versions.map((one) => (one.version === version ? { ...one, state: 'active' } : one))
}

/** @throws USAGE */
function requireNewer({ name, version }: ImportRequest, seals: number | null): void {
  if (version === undefined) {
    throw new KvxError('USAGE', '`--seals` is about a version that the application numbered by itself', {
      hint: `Give that number: \`kvx key import ${name} --version N --seals\`. Nothing was changed.`,
    })
  }
  if (seals === null || version >= seals) return
  throw new KvxError('USAGE', `${name}@${version} is older than ${name}@${seals}, which seals`, {
    hint: 'An older version is imported without `--seals` and opens only; the way back from a rotation is `kvx run rollback`. Nothing was changed.',
  })
}

/** The same bytes again are nothing to do, whichever versions they are: a staged one, or those of a rollback. */
async function knownAlready(
  workspace: Workspace,
  request: ImportRequest,
  found: FoundKey,
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

function numbered(request: ImportRequest, found: FoundKey, seals: number | null): readonly Numbered[] {
  if (found.current === undefined) return []
  if (found.previous === undefined) {
    const version = request.version ?? seals ?? 1
    // A key imported beside one that seals already is an older one of the application: it opens only.
    const state = stateBeside(seals, version)
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
    // With `--seals` it is registered beside the one that seals, then it takes over.
    { version, material: found.current, state: request.seals ? stateBeside(seals, version) : 'active' },
  ]
}

function stateBeside(seals: number | null, version: number): Numbered['state'] {
  return seals === null || seals === version ? 'active' : 'deactivated'
}
