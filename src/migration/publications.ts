import { movePaths, type Place, placeOf, type WrittenPlace, writtenForm } from '../config/publishers.ts'
import { isKvxError } from '../core/errors.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { notice } from '../platform/notices.ts'
import { changePlaces, fromHome, type Places, readPlaces, seenFromHome } from './places-file.ts'

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
    const list = places.published[name] ?? []
    for (const place of publish) {
      const fresh = writtenForm(movePaths(place, (path) => seenFromHome(home, path)))
      if (fresh !== null && !list.some((one) => isSame(one, fresh))) list.push(fresh)
    }
    if (list.length > 0) places.published[name] = list
  }
}

/** Published places of a key that the configuration does not declare any more. Nothing is ever written there. */
export async function formerPublications(
  { config, home }: Workspace,
  name: string,
): Promise<readonly Place[]> {
  const declared = new Set(
    (config.keys[name]?.publish ?? []).map((place) => JSON.stringify(writtenForm(place))),
  )
  const known = (await readPlaces(home)).published[name] ?? []
  return known
    .map((one) => movePaths(placeOf(one), (path) => fromHome(home, path)))
    .filter((place) => !declared.has(JSON.stringify(writtenForm(place))))
}

function isSame(one: WrittenPlace, other: WrittenPlace): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
