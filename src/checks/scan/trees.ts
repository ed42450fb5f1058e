import { basename, dirname, join, relative, resolve } from 'node:path'
import { isKvxError } from '../../core/errors.ts'
import { quotedPath, shownPath } from '../../platform/file-errors.ts'
import { lstatFacts, readFileCapped } from '../../platform/files.ts'
import { listTree } from '../../platform/tree.ts'
import type { Finding } from '../rules.ts'
import { isDirectoryLink, kindByName, leftover, missing, type Target, type Targets } from '../targets.ts'
import { namesInIndex } from './git-index.ts'

export type TreeOptions = {
  /** What git does not track counts too. */
  readonly untracked: boolean
  /** Files and folders to leave out: by their way from the named directory, or by their name alone. */
  readonly exclude: readonly string[]
}

/** What nobody wrote by hand for this project, where git does not say what belongs to it. */
const neverLookedAt = new Set(['.git', 'node_modules'])

/**
 * Everything below the named directories, and the named files, each by what it is: keys, configurations, backups,
 * and texts in which keys may lie open. In a work tree of git the files that git tracks, unless told otherwise.
 * @throws FILE_NOT_FOUND for a path behind which there is nothing
 */
export async function findInTrees(paths: readonly string[], options: TreeOptions): Promise<Targets> {
  const targets = new Map<string, Target>()
  const texts = new Map<string, string>()
  const findings: Finding[] = []
  for (const path of paths) {
    const tree = await filesOf(path, options)
    findings.push(...tree.findings)
    for (const file of tree.files) {
      const kind = basename(file) === 'kvx.yaml' ? 'config' : kindByName(basename(file))
      if (kind === undefined) {
        texts.set(resolve(file), file)
        continue
      }
      const facts = await lstatFacts(file)
      if (facts === undefined) continue
      if (kind === 'leftover') findings.push(leftover(file))
      else targets.set(resolve(file), { path: file, kind, facts, isNamed: false })
      if (kind === 'key' && tree.isTracked) findings.push(committed(file))
    }
  }
  return { targets: [...targets.values()], findings, texts: [...texts.values()] }
}

type Files = {
  readonly files: readonly string[]
  readonly findings: readonly Finding[]
  readonly isTracked: boolean
}

async function filesOf(path: string, options: TreeOptions): Promise<Files> {
  const facts = await lstatFacts(path)
  if (facts === undefined) throw missing(path)
  if (facts.type !== 'directory' && !(await isDirectoryLink(path, facts))) {
    return { files: [path], findings: [], isTracked: false }
  }
  const tracked = options.untracked ? undefined : await trackedBelow(path)
  const { names, unread } = tracked === undefined ? everythingBelow(path) : { names: tracked, unread: [] }
  return {
    files: names.filter((name) => !isExcluded(name, options.exclude)).map((name) => join(path, name)),
    findings: unread.map(notListed),
    isTracked: tracked !== undefined,
  }
}

function everythingBelow(path: string): { names: readonly string[]; unread: readonly string[] } {
  const { entries, unread } = listTree(path, neverLookedAt)
  const names = entries.flatMap(({ name, isLink }) =>
    isLink && kindByName(basename(name)) !== 'key' ? [] : [name],
  )
  return { names, unread }
}

function isExcluded(name: string, exclude: readonly string[]): boolean {
  return exclude.some((word) => {
    const wanted = word.replace(/^\.\//, '').replace(/\/+$/, '')
    if (name === wanted || name.startsWith(`${wanted}/`)) return true
    return !wanted.includes('/') && name.split('/').includes(wanted)
  })
}

const maxIndexBytes = 256 * 1_048_576

/** Names of the files that git tracks below a directory; undefined where no index says it. */
async function trackedBelow(directory: string): Promise<readonly string[] | undefined> {
  const start = resolve(directory)
  for (let top = start; ; top = dirname(top)) {
    const folder = await gitFolder(top)
    if (folder !== undefined) {
      const index = join(folder, 'index')
      if ((await lstatFacts(index)) === undefined) return undefined
      const { bytes } = await readFileCapped(index, { maxBytes: maxIndexBytes })
      const way = relative(top, start)
      const prefix = way === '' ? '' : `${way}/`
      return namesInIndex(bytes)
        ?.filter((name) => name.startsWith(prefix))
        .map((name) => name.slice(prefix.length))
    }
    if (dirname(top) === top) return undefined
  }
}

/** `.git`, or where the file of that name points, as in a second work tree. */
async function gitFolder(top: string): Promise<string | undefined> {
  const path = join(top, '.git')
  const facts = await lstatFacts(path)
  if (facts?.type === 'directory') return path
  if (facts?.type !== 'file') return undefined
  try {
    const { bytes } = await readFileCapped(path, { maxBytes: 4096 })
    const target = /^gitdir: (.+)$/m.exec(bytes.toString('utf8'))?.[1]
    return target === undefined ? undefined : resolve(top, target)
  } catch (error) {
    if (!isKvxError(error)) throw error
    return undefined
  }
}

function committed(path: string): Finding {
  return {
    rule: 'KEY_COMMITTED',
    severity: 'error',
    path: shownPath(path),
    message: 'git tracks this key file: everybody who has a copy of the repository has the key',
    remedy: `let another key seal (\`kvx rotate NAME\`), then take it out: \`git rm --cached ${quotedPath(path)}\`, and out of the history`,
  }
}

function notListed(path: string): Finding {
  return {
    rule: 'FILE_UNREADABLE',
    severity: 'error',
    path,
    message: 'its content could not be listed: nothing in it was checked',
    remedy: `look with \`ls -lab ${quotedPath(path)}\``,
  }
}
