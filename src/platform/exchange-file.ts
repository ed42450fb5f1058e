import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { requireGivable } from './access.ts'
import { exchangeNames, requireExchange } from './exchange-names.ts'
import { fileError, isMissing, quotedPath, shownPath } from './file-errors.ts'
import { type FileFacts, openFacts, sameFile } from './file-facts.ts'
import { fsyncAfterChange, lstatFacts, type ReadFile, readFileCapped, requireRegular } from './files.ts'
import { pathOnly } from './open-files.ts'
import { accessOf, requireSoleName } from './successor.ts'
import { discard, writeTemp } from './temp-file.ts'
import type { Company } from './together.ts'

/** `lost`: another program replaced the file, and what it wrote is in place. `gone`: there is no such file now. */
export type Exchanged =
  | { readonly outcome: 'changed'; readonly facts: FileFacts }
  | { readonly outcome: 'lost' | 'gone' }

/**
 * Puts new bytes in the place of a file beside another program that replaces it by `rename` at any moment:
 * `renameat2(RENAME_EXCHANGE)` gives the displaced file into our hands; when it is not the expected one, it goes
 * back, as long as nothing newer has its place. Access is kept as by `replaceFile`. Programs that write into the
 * open file are not safe beside it, nor is a reader that must never see the new bytes of a lost exchange, which
 * have the name for some milliseconds.
 *
 * The new file waits as `.NAME.DIGEST-DIGEST.kvx-new`, first half the digest of what is expected, second half
 * its own, so that {@link recoverLeftover} knows after a crash which of both files is whose.
 * @throws KvxError UNSAFE_FILE_TYPE, UNSAFE_OWNER, TOOL_MISSING, DISK_FULL, IO_ERROR: the old file is in place;
 *   DURABILITY_UNKNOWN: the new one is, but a power cut may still undo it
 */
export async function exchangeFile(
  path: string,
  bytes: Uint8Array,
  { expected, company }: { readonly expected: ReadFile; readonly company?: Company | undefined },
): Promise<Exchanged> {
  const target = resolve(path)
  const handles: FileHandle[] = []
  try {
    const old = await hold(target, handles, constants.O_RDONLY | constants.O_NONBLOCK)
    if (old === undefined) return { outcome: 'gone' }
    if (!sameFile(old.facts, expected.facts)) return { outcome: 'lost' }
    requireExchangeable(target, old.facts)
    await requireExchange()
    const fresh = await prepare(target, bytes, { old, expected, handles, company })
    const done = await putInPlace(target, fresh, { old, expected, handles })
    await fsyncAfterChange(dirname(target), `${shownPath(path)} is replaced`)
    return done
  } catch (error) {
    throw fileError(error, 'replace', path)
  } finally {
    for (const handle of handles) await handle.close().catch(() => undefined)
  }
}

/** A file that is held open, so that its inode number stays its own whatever other programs do with its name. */
type Held = { readonly handle: FileHandle; readonly facts: FileFacts }

type Exchange = {
  readonly old: Held
  readonly expected: ReadFile
  readonly handles: FileHandle[]
  readonly company?: Company | undefined
}

async function hold(path: string, handles: FileHandle[], flags = pathOnly): Promise<Held | undefined> {
  try {
    const handle = await open(path, flags | constants.O_NOFOLLOW)
    handles.push(handle)
    return { handle, facts: openFacts(handle.fd) }
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

async function holdPresent(path: string, handles: FileHandle[]): Promise<Held> {
  const held = await hold(path, handles)
  if (held !== undefined) return held
  throw new KvxError('UNSAFE_DIRECTORY', `another process took ${shownPath(path)} away`, {
    hint: `find out who writes there: \`ls -la ${quotedPath(dirname(path))}\``,
  })
}

const sameInode = (one: FileFacts | undefined, other: FileFacts): boolean =>
  one?.ino === other.ino && one.dev === other.dev

function requireExchangeable(target: string, facts: FileFacts): void {
  requireRegular(target, facts, 'replace')
  requireSoleName(target, facts)
  requireGivable(target, facts.uid, facts.gid)
}

type Fresh = Held & { readonly path: string }

/** The new file, complete and on the medium, with the access of the old one, under the name that says whose it is. */
async function prepare(
  target: string,
  bytes: Uint8Array,
  { old, expected, handles, company }: Exchange,
): Promise<Fresh> {
  const temp = await writeTemp(target, bytes, accessOf(old.handle.fd, old.facts, { path: target, company }))
  const path = join(
    dirname(target),
    `.${basename(target)}.${shortDigest(expected.bytes)}-${shortDigest(bytes)}.kvx-new`,
  )
  try {
    await rename(temp.path, path)
    return { ...(await holdPresent(path, handles)), path }
  } catch (error) {
    await discard(temp.path)
    await discard(path)
    throw error
  }
}

function shortDigest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16)
}

async function putInPlace(target: string, fresh: Fresh, exchange: Exchange): Promise<Exchanged> {
  const { old, expected, handles } = exchange
  try {
    const now = await lstatFacts(target) // most of what was lost shows here, and the new bytes never get the name
    const isSame = now !== undefined && sameFile(now, expected.facts)
    if (!isSame || !(await exchangeNames(fresh.path, target))) {
      await discard(fresh.path)
      return { outcome: now === undefined || isSame ? 'gone' : 'lost' }
    }
  } catch (error) {
    await discard(fresh.path)
    throw error
  }
  const displaced = await holdPresent(fresh.path, handles)
  if (!sameInode(displaced.facts, old.facts) || !(await holds(fresh.path, expected.bytes))) {
    await giveBack(target, fresh.path, { placed: fresh.facts, held: displaced.facts, handles })
    return { outcome: (await lstatFacts(target)) === undefined ? 'gone' : 'lost' }
  }
  await unlink(fresh.path)
  const placed = await lstatFacts(target)
  if (placed === undefined) return { outcome: 'gone' }
  return sameInode(placed, fresh.facts) ? { outcome: 'changed', facts: placed } : { outcome: 'lost' }
}

/** False also for what cannot be read in peace. */
async function holds(path: string, bytes: Buffer): Promise<boolean> {
  const read = await readFileCapped(path, { maxBytes: bytes.length }).catch(() => undefined)
  return read?.bytes.equals(bytes) === true
}

type GiveBack = {
  /** What we put under the target's name last. */
  placed: FileFacts
  /** What that displaced; it lies under the leftover's name. */
  held: FileFacts
  readonly handles: FileHandle[]
}

/**
 * Gives the target's name back to what another program wrote last, and removes the other file. Each exchange can
 * displace a still newer file, which then is the one to give back; one that finds its place taken is older.
 */
async function giveBack(target: string, leftover: string, state: GiveBack): Promise<void> {
  for (;;) {
    if (!sameInode(await lstatFacts(target), state.placed)) break // replaced or removed since: what we hold is older
    const isDone = await exchangeNames(leftover, target)
    const found = await holdPresent(leftover, state.handles)
    if (!isDone) continue // the target was removed in this moment
    if (sameInode(found.facts, state.placed)) break
    state.placed = state.held
    state.held = found.facts
  }
  await unlink(leftover)
}

/** A file that a dead run left: an unfinished one, or one that waited for its exchange or was displaced by it. */
export type Leftover = {
  /** Name of the file that it belongs to. */
  readonly of: string
  readonly digests: { readonly expected: string; readonly fresh: string } | undefined
}

/** What a name says when it is one of kvx's temporary ones. */
export function parseLeftover(name: string): Leftover | undefined {
  const match = /^\.(.+?)(?:\.([0-9a-f]{16})-([0-9a-f]{16}))?\.kvx-new$/s.exec(name)
  if (match === null) return undefined
  const [, of = '', expected, fresh] = match
  return { of, digests: expected === undefined || fresh === undefined ? undefined : { expected, fresh } }
}

/**
 * Ends what a killed run began with one file. The caller holds the lock. A new file that never got its place and
 * an old one that was replaced as planned are removed; what another program wrote meanwhile gets its name back.
 * @throws KvxError LOCKED when only a person can tell which file is the newer one; both are kept
 */
export async function recoverLeftover(path: string, maxBytes: number): Promise<void> {
  const found = parseLeftover(basename(path))
  if (found === undefined) throw new TypeError('not the name of a leftover')
  const target = join(dirname(path), found.of)
  const handles: FileHandle[] = []
  try {
    const { digests } = found
    const digest = digests && shortDigest((await readFileCapped(path, { maxBytes })).bytes)
    if (digest === digests?.fresh || digest === digests?.expected) await unlink(path)
    else {
      const held = await holdPresent(path, handles)
      const placed = await hold(target, handles)
      const isOurs =
        placed && shortDigest((await readFileCapped(target, { maxBytes })).bytes) === digests?.fresh
      if (!isOurs) throw unclear(path, target)
      await giveBack(target, path, { placed: placed.facts, held: held.facts, handles })
    }
    await fsyncAfterChange(dirname(path), `${shownPath(path)} is cleared away`)
  } catch (error) {
    throw fileError(error, 'clear away', path)
  } finally {
    for (const handle of handles) await handle.close().catch(() => undefined)
  }
}

function unclear(leftover: string, target: string): KvxError {
  return new KvxError(
    'LOCKED',
    `a killed run left ${shownPath(leftover)} while other programs wrote the same file: only you can tell which is newer`,
    {
      hint: `compare both with \`ls -l --full-time ${quotedPath(leftover)} ${quotedPath(target)}\`, keep the newer one under the second name, and remove the first`,
    },
  )
}
