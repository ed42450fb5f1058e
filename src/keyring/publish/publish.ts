import type { KeyConfig, PublisherConfig } from '../../config/schema.ts'
import { KvxError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import type { Home } from '../home.ts'
import { acquireLock } from '../../platform/lock.ts'
import { keyOf, readKeyring, versionOf } from '../keyring.ts'
import type { Keyring } from '../keyring-file.ts'
import { loadMaterial } from '../material.ts'
import { envFilePublisher } from './env-file.ts'
import { keyFilePublisher } from './key-file.ts'
import { unreadable, type Publisher } from './publisher.ts'

export function makePublisher(config: PublisherConfig): Publisher {
  return 'env-file' in config ? envFilePublisher(config) : keyFilePublisher(config)
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
  const lock = await acquireLock(home.keys, 'the published places', { waitMs: publishWaitMs })
  try {
    return await publishLocked(home, key, options)
  } finally {
    lock.release()
  }
}

const publishWaitMs = 30_000

async function publishLocked(
  home: Home,
  key: { readonly name: string; readonly config: KeyConfig },
  options: { readonly withdraw?: boolean },
): Promise<readonly PublishedPlace[]> {
  const ring = await readKeyring(home)
  const slots = wantedSlots(ring, key.name)
  const wanted = options.withdraw === true ? { ...slots, current: null } : slots
  const publishers = key.config.publish.map(makePublisher)
  for (const publisher of publishers) await refuseForeign(publisher, ring, key.name)
  const load = async (version: number | null): Promise<Secret | undefined> =>
    version === null
      ? undefined
      : loadMaterial(home, key.name, version, versionOf(keyOf(ring, key.name), key.name, version))
  const material = { current: await load(wanted.current), previous: await load(wanted.previous) }
  try {
    const places: PublishedPlace[] = []
    for (const publisher of publishers) {
      const changed = await differs(publisher, ring, key.name, wanted)
      if (changed) {
        await publisher.write(material)
        if (await differs(publisher, ring, key.name, wanted)) throw notPublished(publisher)
      }
      places.push({ place: publisher.place, changed })
    }
    return places
  } finally {
    material.current?.wipe()
    material.previous?.wipe()
  }
}

/**
 * A key that lies in a published place and that the keyring does not know may be the only one of its kind: an
 * application was given it by hand.
 * @throws PUBLICATION_DIFFERS naming the place and the way to take it over
 */
export async function refuseForeignKeys(ring: Keyring, name: string, config: KeyConfig): Promise<void> {
  for (const place of config.publish) await refuseForeign(makePublisher(place), ring, name)
}

async function refuseForeign(publisher: Publisher, ring: Keyring, name: string): Promise<void> {
  const known = new Set(Object.values(keyOf(ring, name).versions).map(({ fingerprint }) => fingerprint))
  const found = await publisher.inspect()
  for (const slot of ['current', 'previous'] as const) {
    const fingerprint = found[slot]
    if (fingerprint === undefined || known.has(fingerprint)) continue
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
    const publisher = makePublisher(entry)
    if (await differs(publisher, ring, name, wanted)) drifting.push(publisher.place)
  }
  return drifting
}

function notPublished(publisher: Publisher): KvxError {
  return new KvxError('PUBLICATION_DIFFERS', `${publisher.place} does not hold what was just written there`, {
    hint: `Something else writes ${publisher.path}. Stop it, then run \`kvx key publish\` for the key.`,
  })
}
