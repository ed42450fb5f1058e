import { KvxError } from '../core/errors.ts'
import { groupName, userName } from '../platform/accounts.ts'
import { fileError, quotedPath, shownPath } from '../platform/file-errors.ts'
import { type FileFacts, factsOf, modeText } from '../platform/file-facts.ts'
import { lstatFacts, openForReading } from '../platform/files.ts'
import { type ForeignLooks, type Sniffed, sniff } from './sniff.ts'

/** The data of `kvx.inspect/1`. */
export type Inspection = Sniffed & {
  readonly path: string
  /** In bytes. */
  readonly size: number
  readonly mode: string
  readonly owner: string
  readonly group: string
}

const maxWholeBytes = 1_048_576
const beginningBytes = 4096

/**
 * Tells what a file is without any key and without a part of its content. Follows links. FIFOs, devices and
 * sockets are named and not opened.
 * @throws FILE_NOT_FOUND, IO_ERROR
 */
export async function inspectFile(path: string, foreign: ForeignLooks): Promise<Inspection> {
  const named = path === '' ? undefined : await lstatFacts(path)
  if (named === undefined) throw missing(path)
  if (named.type !== 'file' && named.type !== 'symlink') {
    return { ...(await common(path, named)), kind: named.type, facts: {} }
  }
  const handle = await openForReading(path, true)
  try {
    const facts = factsOf(await handle.stat({ bigint: true }))
    const link = named.type === 'symlink' ? { symlink: true } : {}
    if (facts.type !== 'file') return { ...(await common(path, facts)), kind: facts.type, facts: link }
    const isWhole = facts.size <= maxWholeBytes
    const bytes = Buffer.allocUnsafeSlow(isWhole ? facts.size : beginningBytes)
    try {
      const length = await readInto(handle, bytes)
      const found = sniff(bytes.subarray(0, length), isWhole, foreign)
      const names = facts.nlink > 1 ? { names: facts.nlink } : {}
      return {
        ...(await common(path, facts)),
        kind: found.kind,
        facts: { ...found.facts, ...names, ...link },
      }
    } finally {
      bytes.fill(0)
    }
  } catch (error) {
    throw fileError(error, 'inspect', path)
  } finally {
    await handle.close().catch(() => undefined)
  }
}

function missing(path: string): KvxError {
  if (path === '')
    return new KvxError('USAGE', 'the path is empty', { hint: 'Name a file: `kvx inspect FILE`.' })
  return fileError({ code: 'ENOENT' }, 'inspect', path)
}

async function common(path: string, facts: FileFacts): Promise<Omit<Inspection, 'kind' | 'facts'>> {
  return {
    path: shownPath(path),
    size: facts.size,
    mode: modeText(facts.mode),
    owner: (await userName(facts.uid)) ?? String(facts.uid),
    group: (await groupName(facts.gid)) ?? String(facts.gid),
  }
}

async function readInto(handle: Awaited<ReturnType<typeof openForReading>>, bytes: Buffer): Promise<number> {
  let length = 0
  while (length < bytes.length) {
    const { bytesRead } = await handle.read(bytes, length, bytes.length - length, length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return length
}

const nextCommands: Readonly<Record<string, (path: string) => string>> = {
  key: (path) => `kvx check ${path}`,
  directory: (path) => `kvx check ${path}`,
  empty: (path) => `kvx check ${path}`,
  'kvx-config': () => 'kvx key list',
  'kvx-keyring': () => 'kvx key list',
  'kvx-vault': () => 'kvx vault list',
  'openpgp-message': (path) => `kvx restore --from gpg ${path}`,
  'kvx-share': (path) => `kvx share verify --share-fd 3 3< ${path}`,
  'kvx-rehearsal-share': (path) => `kvx share verify --share-fd 3 3< ${path}`,
  'kvx-backup-manifest': () => 'kvx backup list',
}

/** The command that goes on from here, where there is one. */
export function nextAfter(inspection: Inspection): string | undefined {
  // Several shares in one file are looked at by nothing but a restore.
  if (inspection.facts['shares'] !== undefined) return undefined
  return nextCommands[inspection.kind]?.(quotedPath(inspection.path))
}
