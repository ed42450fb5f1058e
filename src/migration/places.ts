import { isKvxError, KvxError } from '../core/errors.ts'
import type { Home } from '../keyring/home.ts'
import { isoNow } from '../platform/clock.ts'
import { notice } from '../platform/notices.ts'
import type { Census } from './census.ts'
import { changePlaces, type KnownPlace, readPlaces, seenFromHome } from './places-file.ts'
import { keepPublications } from './publications.ts'
import type { Session } from './session.ts'
import type { Place, Workload } from './workload.ts'

type Looked = Pick<Session, 'workspace'> & {
  readonly workloads: readonly Pick<Workload, 'name' | 'key' | 'place'>[]
}

export type Remembering = {
  /** Places whose shrinking a person accepted: the new number is the one that counts from now on. */
  readonly shrunk?: readonly KnownPlace[]
}

/** Remembers what a session works on: with its censuses what they found, without them that it is declared. */
async function keepPlaces(
  { workspace, workloads }: Looked,
  censuses: readonly Census[],
  { shrunk = [] }: Remembering,
): Promise<void> {
  await changePlaces(workspace.home, (places) => {
    keepPublications(workspace, places)
    for (const workload of workloads) {
      const census = censuses.find(({ envelope }) => envelope === workload.name)
      const place = located(workspace.home, workload.place)
      const list = (places.keys[workload.key] ??= [])
      const isAccepted = shrunk.some((one) => isSame(one, place))
      keepOne(list, { name: workload.name, place }, { count: census && countOf(census), isAccepted })
    }
  })
}

/** The same after a look that must be possible on a home that cannot be written: then it is told. */
export async function rememberPlaces(
  session: Looked,
  censuses: readonly Census[],
  options: Remembering = {},
): Promise<void> {
  try {
    await keepPlaces(session, censuses, options)
  } catch (error) {
    if (!isKvxError(error)) throw error
    notice('PLACES_NOT_KEPT', `the home could not remember what was counted: ${error.message}`)
  }
}

function located(home: Pick<Home, 'path'>, place: Place): Place {
  return { ...place, store: seenFromHome(home, place.store) }
}

function countOf({ sealed, unreadable }: Census): number {
  return sealed + unreadable
}

/** So few are told one by one anyway; of more, losing over a half is no ordinary day. */
const fewRecords = 10

function hasShrunk(before: number | null, count: number): boolean {
  return before !== null && before > fewRecords && count > 0 && count < before / 2
}

function keepOne(
  list: KnownPlace[],
  { name, place }: Pick<Workload, 'name' | 'place'>,
  { count, isAccepted }: { readonly count: number | undefined; readonly isAccepted: boolean },
): void {
  const fresh = { name, ...place, columns: [...place.columns] }
  const found = list.find((one) => isSame(one, place))
  if (found === undefined) {
    list.push({ ...fresh, records: count ?? null, seen: isoNow() })
    return
  }
  const changed = found.name !== name || (count !== undefined && count !== found.records)
  found.name = name
  // Finding none, or few, does not undo that there were some, or many: `retire` asks about that.
  const isLess = count === 0 ? (found.records ?? 0) > 0 : hasShrunk(found.records, count ?? 0)
  const keep = count === undefined || (isLess && !isAccepted)
  if (!keep) found.records = count
  if (changed && !keep) found.seen = isoNow()
}

function isSame(one: KnownPlace, place: Place): boolean {
  return isAt(one, place) && one.columns.toSorted().join('\0') === place.columns.toSorted().join('\0')
}

function isAt(one: KnownPlace, { store, table }: Place): boolean {
  return one.store === store && one.table === table
}

/** What was dropped by name, with the reason that is signed. */
export type DropPlaces = { readonly names: readonly string[]; readonly reason: string }

/** What became smaller by name, with the reason that is signed. */
export type AcceptShrunk = DropPlaces

type MissingPlace = { readonly place: KnownPlace; readonly why: 'gone' | 'moved' | 'empty' }

/**
 * Places of the key that had sealed records, as far as is known, and that nothing looks at now, or that have none
 * any more. Without censuses only the declarations are compared.
 */
async function missingPlaces(
  session: Pick<Session, 'workspace' | 'workloads'>,
  key: string,
  censuses: readonly Census[] | undefined,
): Promise<readonly MissingPlace[]> {
  const { home } = session.workspace
  const places = (await readPlaces(home)).keys[key] ?? []
  const workloads = session.workloads
    .filter((one) => one.key === key)
    .map(({ name, place }) => ({ name, place: located(home, place) }))
  return places.flatMap((place): readonly MissingPlace[] => {
    if (place.records === 0) return []
    const covering = workloads.find(
      (one) => isAt(place, one.place) && place.columns.every((column) => one.place.columns.includes(column)),
    )
    if (covering === undefined) {
      return [{ place, why: workloads.some(({ name }) => name === place.name) ? 'moved' : 'gone' }]
    }
    const census = censuses?.find(({ envelope }) => envelope === covering.name)
    const isEmpty = census !== undefined && countOf(census) === 0 && place.records !== null
    return isEmpty ? [{ place, why: 'empty' }] : []
  })
}

export type ShrunkPlace = { readonly place: KnownPlace; readonly count: number }

/** Places of the key in which the scan found less than half of what the last one did. */
async function shrunkPlaces(
  session: Pick<Session, 'workspace' | 'workloads'>,
  key: string,
  censuses: readonly Census[],
): Promise<readonly ShrunkPlace[]> {
  const { home } = session.workspace
  const places = (await readPlaces(home)).keys[key] ?? []
  return session.workloads.flatMap(({ name, place }) => {
    const known = places.find((one) => isSame(one, located(home, place)))
    const census = censuses.find(({ envelope }) => envelope === name)
    if (known === undefined || census === undefined) return []
    const count = countOf(census)
    return hasShrunk(known.records, count) ? [{ place: known, count }] : []
  })
}

/**
 * A scan proves something about the values that it finds. Where most of them are gone, a person says that they were
 * meant to go, and did not only move to where nothing looks.
 * @returns the places that `accept` names, to be recorded
 * @throws PLACE_MISSING
 */
export async function refuseShrunkPlaces(
  session: Pick<Session, 'workspace' | 'workloads'>,
  subject: { readonly name: string; readonly version: number },
  look: { readonly censuses: readonly Census[]; readonly accept: AcceptShrunk | undefined },
): Promise<readonly ShrunkPlace[]> {
  const shrunk = await shrunkPlaces(session, subject.name, look.censuses)
  const extra = look.accept?.names.find((name) => !shrunk.some(({ place }) => place.name === name))
  if (extra !== undefined) {
    throw new KvxError('USAGE', `${extra} has not lost over a half of its values since the last scan`, {
      hint: 'Leave it out of `--accept-shrunk`.',
    })
  }
  const open = shrunk.filter(({ place }) => look.accept?.names.includes(place.name) !== true)
  if (open.length === 0) return shrunk
  const told = open.map(({ place, count }) => `${place.name} had ${place.records} records and has ${count}`)
  const flags = open.map(({ place }) => `--accept-shrunk ${place.name}`)
  throw new KvxError(
    'PLACE_MISSING',
    `nothing is proven about most of the values that ${subject.name}@${subject.version} may have sealed: ${told.join('; ')}; the key is untouched`,
    {
      hint: `Did they move? Declare where they lie now, then \`kvx verify\`. Were they deleted on purpose? \`${flags.join(' ')} --reason TEXT\`.`,
      details: { subject: `${subject.name}@${subject.version}`, places: open.map(({ place }) => place.name) },
    },
  )
}

const whys = {
  gone: 'is not declared any more',
  moved: 'is declared elsewhere now',
  empty: 'has no sealed records any more',
} as const

/**
 * Nothing is proven about a place that no scan looks at.
 * @returns the places that `drop` names, to be recorded and forgotten
 * @throws PLACE_MISSING; USAGE when a name that is to be dropped is not missing
 */
export async function refuseMissingPlaces(
  session: Pick<Session, 'workspace' | 'workloads'>,
  subject: { readonly name: string; readonly version: number },
  look: { readonly censuses?: readonly Census[]; readonly drop: DropPlaces | undefined },
): Promise<readonly KnownPlace[]> {
  const missing = await missingPlaces(session, subject.name, look.censuses)
  const dropped = missing.filter(({ place }) => look.drop?.names.includes(place.name) === true)
  const [first, ...more] = missing.filter((one) => !dropped.includes(one))
  if (first !== undefined) throw placeMissing(subject, [first, ...more])
  const extra = look.drop?.names.find((name) => !dropped.some(({ place }) => place.name === name))
  // A place may turn out to be empty only in the scan, so that is judged with censuses alone.
  if (extra !== undefined && look.censuses !== undefined) {
    throw new KvxError('USAGE', `${extra} is not missing, and only what is missing is dropped`, {
      hint: 'Leave it out of `--drop-place`: it is scanned like everything else.',
    })
  }
  return dropped.map(({ place }) => place)
}

function placeMissing(
  { name, version }: { readonly name: string; readonly version: number },
  missing: readonly MissingPlace[],
): KvxError {
  const told = missing.map(({ place, why }) => {
    const had = place.records === null ? 'never counted' : `had ${place.records} records`
    return `${place.name} (${had} in ${place.store}, ${place.table}) ${whys[why]}`
  })
  const drops = [...new Set(missing.map(({ place }) => place.name))].map((one) => `--drop-place ${one}`)
  return new KvxError(
    'PLACE_MISSING',
    `nothing is proven about values under ${name}@${version}: ${told.join('; ')}; the key is untouched`,
    {
      hint: `Declare it again where it lies. If nothing lies there any more: \`${drops.join(' ')} --reason TEXT\`.`,
      details: { subject: `${name}@${version}`, places: missing.map(({ place }) => place.name) },
    },
  )
}

/** Forgets dropped places; their names stand in the certificate or in the audit log by then. */
export async function forgetPlaces(home: Home, key: string, dropped: readonly KnownPlace[]): Promise<void> {
  if (dropped.length === 0) return
  await changePlaces(home, (places) => {
    places.keys[key] = (places.keys[key] ?? []).filter(
      (one) => !dropped.some((place) => place.name === one.name && isSame(one, place)),
    )
  })
}

/** What a certificate and the audit log say of dropped places. */
export function droppedFacts(dropped: readonly KnownPlace[]): readonly string[] {
  return dropped.map(
    ({ name, store, table, records }) => `${name} (${store}, ${table}): ${records ?? 'never counted'}`,
  )
}
