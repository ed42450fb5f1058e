import type { KeyConfig, PublisherConfig } from '../../config/schema.ts'
import { KvxError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import type { Home } from '../home.ts'
import { keyOf, versionOf } from '../keyring.ts'
import type { Keyring } from '../keyring-file.ts'
import { loadMaterial } from '../material.ts'
import { envFilePublisher } from './env-file.ts'
import { keyFilePublisher } from './key-file.ts'
import type { Publisher } from './publisher.ts'

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
 * that hold it already are not touched. With `withdraw` the current slot is taken away.
 * @throws PUBLICATION_DIFFERS when a place does not hold what was written
 */
export async function publishKey(
  home: Home,
  ring: Keyring,
  key: { readonly name: string; readonly config: KeyConfig },
  options: { readonly withdraw?: boolean } = {},
): Promise<readonly PublishedPlace[]> {
  const wanted = wantedSlots(ring, key.name)
  const current = options.withdraw === true ? null : wanted.current
  const places: PublishedPlace[] = []
  const load = async (version: number | null): Promise<Secret | undefined> =>
    version === null
      ? undefined
      : loadMaterial(home, key.name, version, versionOf(keyOf(ring, key.name), key.name, version))
  const slots = { current: await load(current), previous: await load(wanted.previous) }
  try {
    for (const config of key.config.publish) {
      const publisher = makePublisher(config)
      const changed = await differs(publisher, ring, key.name, { ...wanted, current })
      if (changed) {
        await publisher.write(slots)
        if (await differs(publisher, ring, key.name, { ...wanted, current })) throw notPublished(publisher)
      }
      places.push({ place: publisher.place, changed })
    }
  } finally {
    slots.current?.wipe()
    slots.previous?.wipe()
  }
  return places
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
