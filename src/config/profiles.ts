import { join } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { listDirectory, readFileCapped } from '../platform/files.ts'
import { packaged } from '../platform/packaged.ts'
import { nearest } from './nearest.ts'

/** A ready declaration of a known application: `templates/profiles/NAME.yaml`, a configuration with comments. */
export type Profile = {
  readonly name: string
  /** What its first line says of it. */
  readonly summary: string
  readonly text: string
}

/** What stands behind each place of a profile that differs from site to site. */
export const adjustMark = '<- adjust'

/** The profiles that lie beside this kvx, by name. */
export async function listProfiles(): Promise<readonly Profile[]> {
  const folder = await packaged('templates/profiles')
  if (folder === undefined) return []
  const names = (await listDirectory(folder)).flatMap((file) => /^(.+)\.yaml$/.exec(file)?.[1] ?? [])
  return Promise.all(names.toSorted().map(async (name) => readProfile(folder, name)))
}

/** @throws USAGE for a name that no profile has, with the nearest one and all of them */
export async function findProfile(name: string): Promise<Profile> {
  const profiles = await listProfiles()
  const found = profiles.find((profile) => profile.name === name)
  if (found !== undefined) return found
  const names = profiles.map((profile) => profile.name)
  const meant = nearest(name, names)
  const guess = meant === undefined ? '' : `; did you mean ${JSON.stringify(meant)}?`
  throw new KvxError('USAGE', `there is no profile ${JSON.stringify(name)}${guess}`, {
    hint:
      names.length === 0
        ? 'The folder templates/profiles is missing: install kvx again, or go without a profile.'
        : `There are ${names.join(', ')}. \`kvx init --list-profiles\` says what each is.`,
    details: { profiles: names },
  })
}

const maxProfileBytes = 65_536

async function readProfile(folder: string, name: string): Promise<Profile> {
  const { bytes } = await readFileCapped(join(folder, `${name}.yaml`), { maxBytes: maxProfileBytes })
  const text = bytes.toString('utf8')
  return { name, summary: /^# (.*)$/m.exec(text)?.[1] ?? '', text }
}
