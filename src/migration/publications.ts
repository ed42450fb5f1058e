import type { PublisherConfig } from '../config/schema.ts'
import { isKvxError } from '../core/errors.ts'
import type { Home } from '../keyring/home.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { notice } from '../platform/notices.ts'
import {
  changePlaces,
  fromHome,
  type KnownPublication,
  type Places,
  readPlaces,
  seenFromHome,
} from './places-file.ts'

/**
 * Where keys were ever published. A place that is taken out of the configuration goes on holding its key: before
 * the key is destroyed, it is looked at like every other one.
 */

/** Remembers what is declared now, after a change of keys. A home that cannot be written is told. */
export async function rememberPublications(workspace: Workspace): Promise<void> {
  try {
    await changePlaces(workspace.home, (places) => keepPublications(workspace, places))
  } catch (error) {
    if (!isKvxError(error)) throw error
    notice('PLACES_NOT_KEPT', `the home could not remember where keys are published: ${error.message}`)
  }
}

/** Adds what is declared and not known yet. */
export function keepPublications({ config, home }: Workspace, places: Places): void {
  for (const [name, { publish }] of Object.entries(config.keys)) {
    if (publish.length === 0) continue
    const list = (places.published[name] ??= [])
    for (const place of publish) {
      const fresh = knownAs(home, place)
      if (!list.some((one) => isSame(one, fresh))) list.push(fresh)
    }
  }
}

/** Published places of a key that the configuration does not declare any more. */
export async function formerPublications(
  { config, home }: Workspace,
  name: string,
): Promise<readonly PublisherConfig[]> {
  const declared = (config.keys[name]?.publish ?? []).map((place) => knownAs(home, place))
  const known = (await readPlaces(home)).published[name] ?? []
  return known
    .filter((one) => !declared.some((place) => isSame(one, place)))
    .map((one) => asDeclared(home, one))
}

function knownAs(home: Pick<Home, 'path'>, place: PublisherConfig): KnownPublication {
  if ('env-file' in place) {
    const { current, previous, encoding } = place
    const path = seenFromHome(home, place['env-file'])
    return { 'env-file': path, current, ...(previous === undefined ? {} : { previous }), encoding }
  }
  const { file, previous, encoding } = place
  const second = previous === undefined ? {} : { previous: seenFromHome(home, previous) }
  return { file: seenFromHome(home, file), ...second, encoding }
}

/** As the configuration would declare it; nothing is ever written there. */
function asDeclared(home: Pick<Home, 'path'>, known: KnownPublication): PublisherConfig {
  if ('env-file' in known) return { ...known, 'env-file': fromHome(home, known['env-file']), instances: 1 }
  const { file, previous, encoding } = known
  const second = previous === undefined ? {} : { previous: fromHome(home, previous) }
  return { file: fromHome(home, file), ...second, encoding, mode: '0600', readers: [], instances: 1 }
}

function isSame(one: KnownPublication, other: KnownPublication): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
