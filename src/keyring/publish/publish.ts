import type { Place } from '../../config/publishers.ts'
import type { KeyConfig } from '../../config/schema.ts'
import { isKvxError, KvxError } from '../../core/errors.ts'
import { fingerprintOf } from '../../core/fingerprint.ts'
import type { Secret } from '../../core/secret.ts'
import type { Home } from '../home.ts'
import { whileLocked } from '../../platform/lingering-lock.ts'
import { changeKeyring, keyOf, readKeyring, versionOf } from '../keyring.ts'
import type { KeyRecord, Keyring } from '../keyring-file.ts'
import { loadMaterial } from '../material.ts'
import { commandPublisher } from './command.ts'
import { envFilePublisher } from './env-file.ts'
import { keyFilePublisher } from './key-file.ts'
import { kubernetesPublisher } from './kubernetes-secret.ts'
import { unreadable, type Publisher, type SlotName, type Slots } from './publisher.ts'

/** @param key what the keyring knows of the key: a place that cannot be read is known from there alone */
export function makePublisher(place: Place, key?: Pick<KeyRecord, 'handed'>): Publisher {
  if (place.kind === 'command') return commandPublisher(place, key)
  if (place.kind === 'env-file') return envFilePublisher(place)
  return place.kind === 'kubernetes-secret' ? kubernetesPublisher(place) : keyFilePublisher(place)
}

export type PublishedPlace = {
  readonly place: string
  readonly changed: boolean
}

type Wanted = { readonly current: number | null; readonly previous: number | null }

/** What the keyring says that published places hold. A retired version is published nowhere. */
export function wantedSlots(ring: Keyring, name: string): Wanted {
  const key = keyOf(ring, name)
  const opens = (version: number | null): number | null =>
    version === null || versionOf(key, name, version).retired !== null ? null : version
  return { current: opens(key.seals), previous: key.staged ?? opens(key.previous) }
}

/**
 * Brings every published place of a key to what the keyring says, and reads each back by fingerprint. Places
 * that hold it already are not touched. With `withdraw` the current slot is taken away. One publisher at a time;
 * the keyring is read under the lock.
 * @throws PUBLICATION_DIFFERS when a place holds a key that the keyring does not know (it is not overwritten: it
 *   may be the only one), or does not hold what was written
 */
export async function publishKey(
  home: Home,
  key: { readonly name: string; readonly config: KeyConfig },
  options: { readonly withdraw?: boolean } = {},
): Promise<readonly PublishedPlace[]> {
  const lock = { what: 'the published places', waitMs: publishWaitMs }
  return await whileLocked(home.keys, lock, () => publishLocked(home, key, options))
}

const publishWaitMs = 30_000

async function publishLocked(
  home: Home,
  key: { readonly name: string; readonly config: KeyConfig },
  options: { readonly withdraw?: boolean },
): Promise<readonly PublishedPlace[]> {
  const ring = await readKeyring(home)
  const { name, config } = key
  const record = keyOf(ring, name)
  const slots = wantedSlots(ring, name)
  const wanted = options.withdraw === true ? { ...slots, current: null } : slots
  const work: { readonly place: Place; readonly publisher: Publisher; readonly changed: boolean }[] = []
  for (const place of config.publish) {
    const publisher = makePublisher(place, record)
    await refuseForeign(publisher, ring, name)
    const changed = await differs(publisher, ring, name, wanted)
    // What one place refuses is known before another one is written.
    if (changed) await publisher.check()
    work.push({ place, publisher, changed })
  }
  const load = async (version: number | null): Promise<Secret | undefined> =>
    version === null ? undefined : loadMaterial(home, name, version, versionOf(record, name, version))
  const material = { current: await load(wanted.current), previous: await load(wanted.previous) }
  try {
    for (const { place, publisher, changed } of work) {
      if (!changed) continue
      await publisher.write(material)
      const known = publisher.isHandedOver ? await recordHanded(home, name, publisher.place, material) : ring
      if (await differs(makePublisher(place, keyOf(known, name)), known, name, wanted))
        throw notPublished(publisher)
    }
    return work.map(({ publisher: { place }, changed }) => ({ place, changed }))
  } finally {
    material.current?.wipe()
    material.previous?.wipe()
  }
}

async function recordHanded(home: Home, name: string, place: string, slots: Slots): Promise<Keyring> {
  return changeKeyring(home, (ring) => {
    const key = keyOf(ring, name)
    const [current, previous] = [slots.current, slots.previous].map((slot) => slot && fingerprintOf(slot))
    const handed = { current: current ?? null, previous: previous ?? null }
    key.handed = { ...key.handed, [place]: handed }
    return ring
  })
}

/**
 * A key that lies in a published place and that the keyring does not know may be the only one of its kind: an
 * application was given it by hand.
 * @throws PUBLICATION_DIFFERS naming the place and the way to take it over
 */
export async function refuseForeignKeys(ring: Keyring, name: string, config: KeyConfig): Promise<void> {
  for (const place of config.publish) {
    await refuseForeign(makePublisher(place, keyOf(ring, name)), ring, name)
  }
}

async function refuseForeign(publisher: Publisher, ring: Keyring, name: string): Promise<void> {
  const known = new Set(Object.values(keyOf(ring, name).versions).map(({ fingerprint }) => fingerprint))
  const found = await publisher.inspect()
  for (const slot of ['current', 'previous'] as const) {
    const fingerprint = found[slot]
    if (fingerprint === undefined || known.has(fingerprint)) continue
    if (fingerprint === unreadable) await rethrowUnreachable(publisher, slot)
    const what =
      fingerprint === unreadable
        ? 'something that is no key in the declared encoding'
        : 'a key that the keyring does not know'
    throw new KvxError(
      'PUBLICATION_DIFFERS',
      `the ${slot} slot of ${publisher.place} holds ${what}; it is not overwritten`,
      {
        hint:
          fingerprint === unreadable
            ? `Look at ${publisher.path}; if it is not needed, take it out by hand and run the command again.`
            : `Take it over under its own number: \`kvx key import ${name} --from … --version N\`; or take it out by hand.`,
        details: { place: publisher.place, slot },
      },
    )
  }
}

/** A place that cannot be looked into is another trouble than one that holds something strange. */
async function rethrowUnreachable(publisher: Publisher, slot: SlotName): Promise<void> {
  try {
    ;(await publisher.readSlot(slot))?.wipe()
  } catch (error) {
    if (!isKvxError(error, 'KEY_MALFORMED')) throw error
  }
}

/** Whether a place holds something else than the keyring says, compared by fingerprint. */
async function differs(publisher: Publisher, ring: Keyring, name: string, wanted: Wanted): Promise<boolean> {
  const key = keyOf(ring, name)
  const expected = (version: number | null): string | undefined =>
    version === null ? undefined : (versionOf(key, name, version).fingerprint ?? undefined)
  const found = await publisher.inspect()
  if (found.current !== expected(wanted.current)) return true
  return publisher.hasPrevious && found.previous !== expected(wanted.previous)
}

/** Places that do not hold what the keyring says, for `key list`, `key show` and the start of a run. */
export async function publicationDrift(
  ring: Keyring,
  name: string,
  config: KeyConfig,
): Promise<readonly string[]> {
  const wanted = wantedSlots(ring, name)
  const drifting: string[] = []
  for (const entry of config.publish) {
    const publisher = makePublisher(entry, keyOf(ring, name))
    if (await differs(publisher, ring, name, wanted)) drifting.push(publisher.place)
  }
  return drifting
}

function notPublished(publisher: Publisher): KvxError {
  return new KvxError('PUBLICATION_DIFFERS', `${publisher.place} does not hold what was just written there`, {
    hint: `Something else writes ${publisher.path}. Stop it, then run \`kvx key publish\` for the key.`,
  })
}
