import { dirname, isAbsolute, relative } from 'node:path'
import { z } from 'zod'
import { isKvxError, KvxError } from '../core/errors.ts'
import type { Home } from '../keyring/home.ts'
import { isoNow } from '../platform/clock.ts'
import { exists, readFileCapped } from '../platform/files.ts'
import { acquireLock } from '../platform/lock.ts'
import { notice } from '../platform/notices.ts'
import { writeState } from '../platform/state-file.ts'
import type { Census } from './census.ts'
import type { Session } from './session.ts'
import type { Place, Workload } from './workload.ts'

/**
 * `places.json`: for each key, where sealed things under it were ever declared and how many records they had. A
 * gate that scans only what the configuration declares today would prove nothing about what was taken out of it.
 */
const known = z.strictObject({
  /** The envelope or vault, as it was called last. */
  name: z.string(),
  /** The database file or the directory; beginning with `./` beside the home. */
  store: z.string(),
  table: z.string(),
  columns: z.array(z.string()),
  /** Sealed or unreadable records that the last census found which found any; null before the first one. */
  records: z.int().nonnegative().nullable(),
  seen: z.iso.datetime(),
})
const file = z.strictObject({
  schema: z.literal('kvx.places/1'),
  keys: z.record(z.string(), z.array(known)),
})

export type KnownPlace = z.output<typeof known>
type Places = z.output<typeof file>

const maxBytes = 16 * 1_048_576
const lockWaitMs = 10_000

/** @throws KEYRING_DAMAGED */
async function readPlaces(home: Home): Promise<Places> {
  const path = home.places
  if (!(await exists(path))) return { schema: 'kvx.places/1', keys: {} }
  const { bytes } = await readFileCapped(path, { maxBytes })
  try {
    return file.parse(JSON.parse(bytes.toString('utf8')))
  } catch {
    throw new KvxError('KEYRING_DAMAGED', `${path} is damaged`, {
      hint: `It holds no key: it says where sealed things were found. Put back its copy; or move it away, then \`kvx verify\` with every envelope declared that there ever was.`,
    })
  }
}

async function changePlaces(home: Home, change: (places: Places) => void): Promise<void> {
  const lock = await acquireLock(home.path, 'the keyring', { waitMs: lockWaitMs })
  try {
    const places = await readPlaces(home)
    const before = JSON.stringify(places)
    change(places)
    if (JSON.stringify(places) === before) return
    await writeState(home.places, Buffer.from(`${JSON.stringify(places, null, 2)}\n`))
    await home.afterChange?.()
  } finally {
    lock.release()
  }
}

type Looked = Pick<Session, 'workspace'> & {
  readonly workloads: readonly Pick<Workload, 'name' | 'key' | 'place'>[]
}

/** Remembers what a session works on: with its censuses what they found, without them that it is declared. */
async function keepPlaces({ workspace, workloads }: Looked, censuses: readonly Census[] = []): Promise<void> {
  if (workloads.length === 0) return
  await changePlaces(workspace.home, (places) => {
    for (const workload of workloads) {
      const census = censuses.find(({ envelope }) => envelope === workload.name)
      const place = located(workspace.home, workload.place)
      keepOne((places.keys[workload.key] ??= []), { name: workload.name, place }, census && countOf(census))
    }
  })
}

/** The same after a look that must be possible on a home that cannot be written: then it is told. */
export async function rememberPlaces(session: Looked, censuses: readonly Census[]): Promise<void> {
  try {
    await keepPlaces(session, censuses)
  } catch (error) {
    if (!isKvxError(error)) throw error
    notice('PLACES_NOT_KEPT', `the home could not remember what was counted: ${error.message}`)
  }
}

/**
 * What lies beside the home is remembered by its way from there: an installation that moves as a whole, or is
 * copied for a drill, is still the same.
 */
function located({ path }: Pick<Home, 'path'>, place: Place): Place {
  const way = relative(dirname(path), place.store)
  return way.startsWith('..') || isAbsolute(way) ? place : { ...place, store: `./${way}` }
}

function countOf({ sealed, unreadable }: Census): number {
  return sealed + unreadable
}

function keepOne(
  list: KnownPlace[],
  { name, place }: Pick<Workload, 'name' | 'place'>,
  count: number | undefined,
): void {
  const fresh = { name, ...place, columns: [...place.columns] }
  const found = list.find((one) => isSame(one, place))
  if (found === undefined) {
    list.push({ ...fresh, records: count ?? null, seen: isoNow() })
    return
  }
  const changed = found.name !== name || (count !== undefined && count !== found.records)
  found.name = name
  // Finding none does not undo that there were some: `retire` asks about that.
  const keep = count === undefined || (count === 0 && (found.records ?? 0) > 0)
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
