import { join } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { exists, lstatFacts } from '../platform/files.ts'

/** The folders and files of a home. */
export type Home = {
  readonly path: string
  readonly keyring: string
  readonly keys: string
  /** Where sealed things were found, for the gates of `retire` and `destroy`. */
  readonly places: string
  /** What the last full verify of each envelope found. */
  readonly verified: string
  readonly journal: string
  readonly runs: string
  readonly backups: string
  readonly audit: string
  /** Called after each change of the keyring; keeps the copy outside the home up to date. */
  readonly afterChange?: () => Promise<void>
}

export function homeAt(path: string): Home {
  return {
    path,
    keyring: join(path, 'keyring.json'),
    keys: join(path, 'keys'),
    places: join(path, 'places.json'),
    verified: join(path, 'verified.json'),
    journal: join(path, 'kvx.db'),
    runs: join(path, 'runs'),
    backups: join(path, 'backups'),
    audit: join(path, 'audit'),
  }
}

/** Signed reports of drills, beside the backups that they proved. */
export function drillsFolder(home: Home): string {
  return join(home.backups, 'drills')
}

/** The file of a version's material: raw bytes, 0600, the source of truth for bytes. */
export function materialPath(home: Home, name: string, version: number): string {
  return join(home.keys, `${name}.v${version}.key`)
}

/**
 * An existing home that only its owner can enter.
 * @throws HOME_NOT_FOUND, UNSAFE_MODE, UNSAFE_OWNER
 */
export async function openHome(path: string, origin: string): Promise<Home> {
  const home = homeAt(path)
  if (!(await exists(home.keyring))) {
    throw new KvxError('HOME_NOT_FOUND', `there is no home at ${path} (from ${origin})`, {
      hint: 'Make it with `kvx init`, or name an existing one with `--home DIR`. A home that was lost comes back with `kvx restore --from home FILE`.',
    })
  }
  const facts = await lstatFacts(path)
  if (facts === undefined) throw new TypeError('the home was there a moment ago')
  if ((facts.mode & 0o077) !== 0) {
    throw new KvxError('UNSAFE_MODE', `the home ${path} can be entered by others`, {
      hint: `Take the right away: \`chmod 700 ${path}\``,
    })
  }
  const euid = process.geteuid?.()
  if (facts.uid !== euid) {
    throw new KvxError(
      'UNSAFE_OWNER',
      `the home ${path} belongs to uid ${facts.uid}, not to uid ${euid ?? '?'}`,
      {
        hint: 'Run kvx as the owner of its home.',
      },
    )
  }
  return home
}
