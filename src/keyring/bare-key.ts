import { basename, dirname, join, resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { checkValueOf, fingerprintOf } from '../core/fingerprint.ts'
import { encodeKey, type KeyEncoding } from '../core/key-encoding.ts'
import type { Secret } from '../core/secret.ts'
import { type Access, resolveAccess } from '../platform/access.ts'
import { groupName, userId, userName } from '../platform/accounts.ts'
import { createFile } from '../platform/create-file.ts'
import { fileError, quotedPath, shownPath } from '../platform/file-errors.ts'
import { modeText } from '../platform/file-facts.ts'
import { exists, lstatFacts } from '../platform/files.ts'
import { acquireLock, type Lock } from '../platform/lock.ts'
import { randomSecret } from '../platform/random.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'

export type BareKeyRequest = {
  readonly name: string
  /** Absolute, or relative to the working directory. */
  readonly path: string
  readonly encoding: KeyEncoding
  readonly access: Access
}

/** A key file outside the ring. Fingerprint and check value are null when nothing was made. */
export type BareKey = {
  readonly path: string
  readonly fingerprint: string | null
  readonly checkValue: string | null
  readonly mode: string
  readonly owner: string
  readonly group: string
  readonly readers: readonly string[]
}

const madeKeyBytes = 32
const lockPatienceMs = 10_000
/** Owner reads and writes, the group reads. Wider than this is no key file. */
const widestMode = 0o640

/** @throws USAGE for a name that cannot be a key's: it becomes a file name and is printed everywhere */
export function requireKeyName(name: string): void {
  if (/^[a-z0-9][a-z0-9._-]{0,63}$/i.test(name) && !name.includes('..')) return
  throw new KvxError('USAGE', `${JSON.stringify(shownPath(name).slice(0, 80))} is not a name of a key`, {
    hint: 'A name has letters, digits, dot, dash and underscore, 64 at most, and begins with a letter or digit.',
  })
}

/**
 * An octal mode of a key file.
 * @throws USAGE for what is no mode, UNSAFE_MODE for one that opens the key to more than its owner and group
 */
export function parseKeyMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) {
    throw new KvxError('USAGE', 'the mode is not octal text of three digits', {
      hint: 'For example `--mode 0640`.',
    })
  }
  const mode = Number.parseInt(text, 8)
  if ((mode & ~widestMode) === 0 && (mode & 0o400) !== 0) return mode
  throw new KvxError(
    'UNSAFE_MODE',
    `a key file cannot have the mode ${modeText(mode)}: 0640, 0600, 0440 and 0400 are possible`,
    {
      hint: 'Let the owning group read with `--mode 0640 --group GROUP`, and others with `--reader GROUP` each.',
    },
  )
}

/**
 * Makes 32 random bytes in a file of their own, which no ring knows. Durable; at no moment open to anybody who
 * shall not read it; never over an existing file. Texts have no line break at their end.
 * @param dryRun looks at everything that can be looked at and writes nothing
 * @throws USAGE, FILE_NOT_FOUND (no such directory), TARGET_EXISTS, UNSAFE_DIRECTORY, UNSAFE_MODE, UNSAFE_OWNER,
 *   and as createFile does
 */
export async function makeBareKey(request: BareKeyRequest, dryRun: boolean): Promise<BareKey> {
  requireKeyName(request.name)
  const named = keyPath(request.path)
  const directory = await requireDirectory(dirname(named), request.access)
  const path = join(directory, basename(named))
  if (await exists(path)) throw targetExists(path)
  const wanted = await resolveAccess(path, request.access, undefined)
  const facts = {
    path,
    owner: (await userName(wanted.uid)) ?? String(wanted.uid),
    group: (await groupName(wanted.gid)) ?? String(wanted.gid),
    readers: await Promise.all(wanted.acl.groups.map(async ({ id }) => (await groupName(id)) ?? String(id))),
  }
  if (dryRun) {
    const mode = request.access.mode | (wanted.acl.groups.length > 0 ? 0o040 : 0)
    return { ...facts, fingerprint: null, checkValue: null, mode: modeText(mode) }
  }
  // The unfinished file has a fixed name: two makers of one key must not meet in it.
  const locking = acquireLock(directory, `the directory ${directory}`, { waitMs: lockPatienceMs })
  locking.catch(() => undefined) // it is asked for below, after one turn of the loop
  // Once the other program that takes the lock was started, Node loads its ciphers beside it.
  await new Promise((done) => setImmediate(done))
  const material = randomSecret(madeKeyBytes)
  let lock: Lock | undefined
  try {
    lock = await locking
    const mode = await writeKey(path, material, request)
    const fingerprint = fingerprintOf(material)
    return { ...facts, fingerprint, checkValue: checkValueOf(fingerprint), mode: modeText(mode) }
  } finally {
    material.wipe()
    lock?.release()
  }
}

async function writeKey(path: string, material: Secret, request: BareKeyRequest): Promise<number> {
  const bytes = encodeKey(material, request.encoding)
  try {
    const { mode } = await createFile(path, bytes, request.access)
    return mode
  } finally {
    bytes.fill(0)
  }
}

/** `D/NAME.key` */
export function keyPathIn(directory: string, name: string): string {
  requireKeyName(name)
  if (directory === '')
    throw new KvxError('USAGE', 'the directory has no name', { hint: 'For example `--dir .`.' })
  return join(directory, `${name}.key`)
}

function keyPath(path: string): string {
  const isFile = path !== '' && !path.endsWith('/') && !['.', '..'].includes(basename(path))
  if (isFile) return resolve(path)
  throw new KvxError('USAGE', `${JSON.stringify(shownPath(path))} does not name a file`, {
    hint: 'Name the file itself with `--out FILE`, or a directory with `--dir DIR`.',
  })
}

/**
 * Only root and the owner of a directory make keys in it, and nobody else can put a file in their place. Gives the
 * canonical path, so that a link on the way cannot lead elsewhere by the time the key is written.
 */
async function requireDirectory(directory: string, access: Access): Promise<string> {
  // The dot makes the system follow a link to the directory.
  const facts = await lstatFacts(`${directory}/.`)
  const quoted = quotedPath(directory)
  if (facts === undefined) {
    const { code, message } = fileError({ code: 'ENOENT' }, 'use the directory', directory)
    throw new KvxError(code, message, { hint: `make it: \`install -d -m 0711 ${quoted}\`` })
  }
  const canonical = await checkDirectoryTrust(
    directory,
    access.owner === undefined ? {} : { owner: await userId(access.owner) },
  )
  const own = process.geteuid?.() ?? -1
  if (own === 0 || (facts.uid === own && (facts.mode & 0o700) === 0o700)) return canonical
  const why = facts.uid === own ? `has the mode ${modeText(facts.mode)}` : `belongs to uid ${facts.uid}`
  throw new KvxError(
    'UNSAFE_DIRECTORY',
    `uid ${own} cannot make a key in ${shownPath(directory)}, which ${why}`,
    {
      hint:
        facts.uid === own
          ? `give yourself the right: \`chmod u+rwx ${quoted}\``
          : `run the same command with \`sudo -u '#${facts.uid}'\` or as root, or name a directory of your own`,
    },
  )
}

function targetExists(path: string): KvxError {
  return new KvxError('TARGET_EXISTS', `${shownPath(path)} exists already and is not overwritten`, {
    hint: `choose another name, or look at it with \`kvx inspect ${quotedPath(path)}\``,
    details: { path: shownPath(path) },
  })
}
