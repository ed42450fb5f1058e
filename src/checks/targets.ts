import { basename, join, resolve } from 'node:path'
import { isKvxError, KvxError } from '../core/errors.ts'
import { fileError, quotedPath, shownPath } from '../platform/file-errors.ts'
import type { FileFacts } from '../platform/file-facts.ts'
import { listDirectory, lstatFacts } from '../platform/files.ts'
import { fileFinding } from './key-file.ts'
import type { Finding } from './rules.ts'

/** What a file is taken for, by its name. */
export type TargetKind = 'key' | 'config' | 'manifest' | 'message'

export type Target = {
  readonly path: string
  readonly kind: TargetKind
  /** Of the name itself, links not followed. */
  readonly facts: FileFacts
  /** True when the path was given, false when it was found in a directory. */
  readonly isNamed: boolean
}

export type Targets = {
  readonly targets: readonly Target[]
  readonly findings: readonly Finding[]
  /** Files in which keys may lie open, of a look through whole trees. */
  readonly texts?: readonly string[]
}

/**
 * The files that paths mean: a file is itself, a directory is the key files in it, the previous slots too, and the
 * backups with their manifests. A file that is named twice counts once.
 * @throws FILE_NOT_FOUND for a path, a link or a pattern behind which there is nothing, before anything is read
 */
export async function findTargets(paths: readonly string[]): Promise<Targets> {
  const found = new Map<string, Target>()
  const findings: Finding[] = []
  for (const path of paths) {
    const listed = await expand(path)
    findings.push(...listed.findings)
    for (const target of listed.targets) {
      const whole = resolve(target.path)
      if (!found.has(whole)) found.set(whole, target)
    }
  }
  return { targets: [...found.values()], findings }
}

async function expand(path: string): Promise<Targets> {
  if (path === '') throw new KvxError('USAGE', 'a path is empty', { hint: 'Name a key file or a directory.' })
  const facts = await lstatFacts(path)
  if (facts === undefined) throw missing(path)
  // The dot makes the system follow a link to a directory.
  const isDirectory = facts.type === 'directory' || (await isDirectoryLink(path, facts))
  if (isDirectory) return listKeys(path)
  return { targets: [{ path, kind: kindOf(path), facts, isNamed: true }], findings: [] }
}

export async function isDirectoryLink(path: string, facts: FileFacts): Promise<boolean> {
  if (facts.type !== 'symlink') return false
  try {
    return (await lstatFacts(`${path}/.`))?.type === 'directory'
  } catch {
    return false // what is wrong with the link is found when it is opened
  }
}

export function missing(path: string): KvxError {
  if (/[*?[]/.test(path)) {
    return new KvxError('FILE_NOT_FOUND', `nothing matches ${shownPath(path)}`, {
      hint: 'The shell hands on a pattern that matches nothing as it is. Name a directory to check all key files in it.',
    })
  }
  return fileError({ code: 'ENOENT' }, 'check', path)
}

/** What a file in a directory is by its name alone; undefined for everything that is no matter of keys. */
export function kindByName(name: string): TargetKind | 'leftover' | undefined {
  if (keyName.test(name)) return 'key'
  if (manifestName.test(name)) return 'manifest'
  if (backupName.test(name)) return 'message'
  return leftoverName.test(name) ? 'leftover' : undefined
}

const keyName = /^[^.].*\.key(\.previous)?$|^\.key$/
const manifestName = /\.v\d+\.[0-9a-z]{8}\.json$/i
const backupName = /\.v\d+\.[0-9a-z]{8}\.asc$/i
const leftoverName = /^\..+\.kvx-new$/

async function listKeys(directory: string): Promise<Targets> {
  let names: readonly string[]
  try {
    names = await listDirectory(directory)
  } catch (error) {
    if (!isKvxError(error, 'UNSAFE_FILE_TYPE')) throw error
    const finding = fileFinding('FILE_NAME', directory, error)
    return {
      targets: [],
      findings: [{ ...finding, message: `${finding.message}; nothing in this directory was checked` }],
    }
  }
  const targets: Target[] = []
  const findings: Finding[] = []
  for (const name of names) {
    const kind = kindByName(name)
    if (kind === undefined) continue
    const path = join(directory, name)
    const facts = await lstatFacts(path)
    if (kind === 'leftover') findings.push(leftover(path))
    else if (facts !== undefined) targets.push({ path, kind, facts, isNamed: false })
  }
  if (targets.length === 0 && findings.length === 0) {
    throw new KvxError(
      'FILE_NOT_FOUND',
      `there is no key file (*.key) and no backup in ${shownPath(directory)}`,
      {
        hint: `name the files themselves; \`ls -la ${quotedPath(directory)}\` shows what is there`,
      },
    )
  }
  return { targets, findings }
}

export function leftover(path: string): Finding {
  return {
    rule: 'LEFTOVER',
    severity: 'warning',
    path: shownPath(path),
    message: 'a run that died left this unfinished file, which may hold a key',
    remedy: `run the command that died again, which removes it, or remove it: \`rm ${quotedPath(path)}\``,
  }
}

function kindOf(path: string): TargetKind {
  const name = basename(path).toLowerCase()
  if (/\.ya?ml$/.test(name)) return 'config'
  if (manifestName.test(name)) return 'manifest'
  return /\.(asc|gpg|pgp)$/.test(name) ? 'message' : 'key'
}
