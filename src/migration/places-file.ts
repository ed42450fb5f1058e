import { dirname, isAbsolute, join, relative } from 'node:path'
import { z } from 'zod'
import { publisherSchema, type WrittenPlace } from '../config/publishers.ts'
import { KvxError } from '../core/errors.ts'
import { whileHomeLocked } from '../keyring/home-lock.ts'
import type { Home } from '../keyring/home.ts'
import { exists, readFileCapped } from '../platform/files.ts'
import { writeState } from '../platform/state-file.ts'
import { removeLeftover } from '../platform/temp-file.ts'

/**
 * `places.json`: for each key, where sealed things under it were ever declared and how many records they had, and
 * where it was ever published. A gate that looks only at what the configuration declares today would prove nothing
 * about what was taken out of it.
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

/** What it takes to look into a published place, as `kvx.yaml` writes it. Paths as those of stores. */
const published = z.custom<WrittenPlace>((place) => publisherSchema.safeParse(place).success)

const file = z.strictObject({
  schema: z.literal('kvx.places/1'),
  keys: z.record(z.string(), z.array(known)),
  /** Missing in files of before it was kept. */
  published: z.record(z.string(), z.array(published)).default({}),
})

export type KnownPlace = z.output<typeof known>
export type Places = z.output<typeof file>

const maxBytes = 16 * 1_048_576

/** @throws KEYRING_DAMAGED */
export async function readPlaces(home: Home): Promise<Places> {
  const path = home.places
  if (!(await exists(path))) return { schema: 'kvx.places/1', keys: {}, published: {} }
  const { bytes } = await readFileCapped(path, { maxBytes })
  try {
    return file.parse(JSON.parse(bytes.toString('utf8')))
  } catch {
    throw new KvxError('KEYRING_DAMAGED', `${path} is damaged`, {
      hint: `It holds no key: it says where sealed things were found. Put back its copy; or move it away, then \`kvx verify\` with every envelope declared that there ever was.`,
    })
  }
}

export async function changePlaces(home: Home, change: (places: Places) => void): Promise<void> {
  await whileHomeLocked(home, async () => {
    await removeLeftover(home.places) // a killed run's, where nothing changes any more
    const places = await readPlaces(home)
    const before = JSON.stringify(places)
    change(places)
    if (JSON.stringify(places) === before) return
    await writeState(home.places, Buffer.from(`${JSON.stringify(places, null, 2)}\n`))
    await home.afterChange?.()
  })
}

/**
 * What lies beside the home is remembered by its way from there: an installation that moves as a whole, or is
 * copied for a drill, is still the same.
 */
export function seenFromHome({ path }: Pick<Home, 'path'>, absolute: string): string {
  if (!isAbsolute(absolute)) return absolute // a server
  const way = relative(dirname(path), absolute)
  return way.startsWith('..') || isAbsolute(way) ? absolute : `./${way}`
}

/** The way back. */
export function fromHome({ path }: Pick<Home, 'path'>, remembered: string): string {
  return remembered.startsWith('./') ? join(dirname(path), remembered) : remembered
}
