import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import { fingerprintOf } from '../core/fingerprint.ts'
import type { KeyConfig } from '../config/schema.ts'
import type { KeyRecord } from './keyring-file.ts'
import { readKeyring } from './keyring.ts'
import { hasMaterial, readMaterial } from './material.ts'
import { newMaterial } from './new-material.ts'
import { makePublisher, publishKey, type PublishedPlace } from './publish/publish.ts'
import { registerVersion, type Registered } from './register.ts'
import { configuredKey, type Workspace } from './workspace.ts'

/**
 * Makes version 1 of a key that the configuration names: registered in the home (0600), active, published as
 * declared. Nothing was sealed before it, so it needs no rollout.
 * @throws KEY_EXISTS when the ring has the key, TARGET_EXISTS when a published place holds something already
 */
export async function makeRegisteredKey(
  workspace: Workspace,
  name: string,
  dryRun: boolean,
): Promise<{ readonly registered: Registered | undefined; readonly places: readonly PublishedPlace[] }> {
  const config = configuredKey(workspace.config, name)
  const ring = await readKeyring(workspace.home)
  const known = ring.keys[name]
  if (known?.seals != null) {
    const made = await unpublished(known, config)
    if (made !== undefined && !dryRun) {
      const places = await withIntent(workspace.audit, { action: 'key.publish', subject: name }, async () =>
        publishKey(workspace.home, { name, config }),
      )
      return { registered: { version: 1, fingerprint: made, changed: false }, places }
    }
    throw new KvxError('KEY_EXISTS', `the keyring has ${name}@${known.seals} already`, {
      hint: `To change the key: \`kvx rotate ${name}\`.`,
    })
  }
  const reserved = known?.versions['1']
  if (reserved !== undefined && reserved.origin !== 'generated') {
    throw new KvxError('KEY_EXISTS', `an import of ${name} was begun and not finished`, {
      hint: `Finish it: \`kvx key import ${name}\`. Nothing was changed.`,
    })
  }
  if (reserved !== undefined && reserved.state !== 'pre-activation') {
    throw new KvxError('KEY_EXISTS', `the keyring has versions of ${name}, and none of them seals`, {
      hint: `Say which one does: \`kvx key import ${name} --from … --version N\`. Nothing was changed.`,
    })
  }
  await refuseFilledPlaces(workspace, name, { config, known })
  if (dryRun) return { registered: undefined, places: [] }
  return withIntent(workspace.audit, { action: 'key.generate', subject: `${name}@1` }, async () => {
    // A crash may have left the file of an earlier attempt, which was never used: go on with it.
    const material = (await hasMaterial(workspace.home, name, 1))
      ? await readMaterial(workspace.home, name, 1)
      : newMaterial(config)
    try {
      const registered = await registerVersion(workspace, {
        name,
        purpose: config.purpose,
        version: 1,
        material,
        origin: 'generated',
        state: 'active',
        rollout: 'first',
        reason: 'made by keygen',
      })
      const places = await publishKey(workspace.home, { name, config })
      return { registered, places }
    } finally {
      material.wipe()
    }
  })
}

/**
 * The fingerprint of a key that keygen made and did not come to publish: a crash lay in between. Places that hold
 * it already or hold nothing yet are its own.
 */
async function unpublished(key: KeyRecord, config: KeyConfig): Promise<string | undefined> {
  const [only, ...more] = Object.values(key.versions)
  if (only?.origin !== 'generated' || only.fingerprint === null || more.length > 0) return undefined
  const found = await Promise.all(config.publish.map(async (place) => makePublisher(place, key).inspect()))
  const isOwn = found.every(({ current }) => current === undefined || current === only.fingerprint)
  return isOwn && found.some(({ current }) => current === undefined) ? only.fingerprint : undefined
}

/**
 * A key that an application uses already is imported, never replaced by a new one. Only what an earlier attempt
 * of this very command published may lie there.
 */
async function refuseFilledPlaces(
  workspace: Workspace,
  name: string,
  { config, known }: { readonly config: KeyConfig; readonly known: KeyRecord | undefined },
): Promise<void> {
  const own = await fingerprintOfLeftover(workspace, name)
  for (const place of config.publish) {
    const publisher = makePublisher(place, known)
    const { current, previous } = await publisher.inspect()
    if (previous === undefined && (current === undefined || current === own)) continue
    throw new KvxError('TARGET_EXISTS', `${publisher.place} holds a key already`, {
      hint: `Take it over: \`kvx key import ${name}\`. Nothing was changed.`,
    })
  }
}

async function fingerprintOfLeftover(workspace: Workspace, name: string): Promise<string | undefined> {
  if (!(await hasMaterial(workspace.home, name, 1))) return undefined
  const material = await readMaterial(workspace.home, name, 1)
  const fingerprint = fingerprintOf(material)
  material.wipe()
  return fingerprint
}
