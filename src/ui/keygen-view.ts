import type { BareKey } from '../keyring/bare-key.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'

export type MadeKey = BareKey & {
  readonly name: string
  /** Null for a bare file, which has no versions. */
  readonly version: number | null
  readonly encoding: string
  readonly registered: boolean
  readonly published: readonly string[]
  readonly dryRun: boolean
}

export function keygenLines(key: MadeKey): readonly string[] {
  const path = shownPath(key.path)
  const subject = key.version === null ? key.name : `${key.name}@${key.version}`
  const readers = key.readers.length === 0 ? '' : `, readers ${key.readers.join(' ')}`
  const access = `${key.mode} ${key.owner}:${key.group}${readers}`
  if (key.dryRun) {
    return [`${subject}  would be made at ${path} (${key.encoding}, ${access}). Nothing was written.`]
  }
  return [
    `${subject}  made at ${path}`,
    `  check value  ${key.checkValue ?? ''}`,
    `  fingerprint  ${key.fingerprint ?? ''}`,
    `  encoding     ${key.encoding}`,
    `  access       ${access}`,
    ...key.published.map((place) => `  published    ${place}`),
    ...(key.registered
      ? ['', `Next: kvx backup create ${key.name}`]
      : ['', 'This file is the only copy, and no ring knows it.', `Next: ${checkCommand(key)}`]),
  ]
}

/** The check that finds nothing to complain about in a file that was made like this. */
function checkCommand(key: MadeKey): string {
  const readers = key.readers.map((group) => ` --allow-reader ${group}`)
  const owner = key.owner === 'root' ? '' : ` --owner ${key.owner}`
  return `kvx check ${quotedPath(key.path)}${readers.join('')}${owner}`
}
