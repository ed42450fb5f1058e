import { join } from 'node:path'
import { isKvxError, KvxError } from '../../core/errors.ts'
import { createFile } from '../../platform/create-file.ts'
import { shownPath } from '../../platform/file-errors.ts'
import { exists, listDirectory, readFileCapped } from '../../platform/files.ts'
import { writeState } from '../../platform/state-file.ts'
import { isUnfinishedName } from '../../platform/whole-folder.ts'
import type { BackupWarning } from '../errors.ts'
import type { Verifier } from '../manifest.ts'
import {
  encodeShareSet,
  isComplete,
  parseShareSet,
  type ShareSet,
  type ShareSigner,
  type SignedShareSet,
  verifyShareSet,
} from './share-set.ts'

/** One set of a home: the folder `shares/NAME.vN.SET` with the manifest `SET.json` and the files of custodians. */
export type StoredShareSet = SignedShareSet & { readonly folder: string; readonly path: string }

export type ShareSetList = {
  /** Oldest first. */
  readonly sets: readonly StoredShareSet[]
  /** Folders that count for nothing: without a manifest, or with one that cannot be read. */
  readonly problems: readonly BackupWarning[]
}

const maxManifest = 256 * 1024

/** Where the share sets lie beside the OpenPGP backups. */
export function sharesFolder(directory: string): string {
  return join(directory, 'shares')
}

export function setFolder(directory: string, set: Pick<ShareSet, 'name' | 'version' | 'set'>): string {
  return join(sharesFolder(directory), `${set.name}.v${set.version}.${set.set.toUpperCase()}`)
}

export function manifestName(set: { readonly set: string }): string {
  return `${set.set.toUpperCase()}.json`
}

/** All share sets of a directory of backups; none where it does not exist. Nothing is skipped in silence. */
export async function listShareSets(directory: string): Promise<ShareSetList> {
  const root = sharesFolder(directory)
  if (!(await exists(root))) return { sets: [], problems: [] }
  const sets: StoredShareSet[] = []
  const problems: BackupWarning[] = []
  for (const name of await listDirectory(root)) {
    try {
      sets.push(await readStored(join(root, name), name))
    } catch (error) {
      if (!isKvxError(error)) throw error
      problems.push({ code: error.code, message: error.message })
    }
  }
  const key = ({ set }: StoredShareSet): string => `${set.created} ${set.set}`
  return { sets: sets.sort((one, other) => (key(one) < key(other) ? -1 : 1)), problems }
}

async function readStored(folder: string, name: string): Promise<StoredShareSet> {
  if (isUnfinishedName(name)) {
    throw new KvxError('DAMAGED', `${shownPath(folder)} is a split that was not finished`, {
      hint: 'it counts for nothing, and no share of it left this machine; the next `kvx backup split` removes it',
    })
  }
  const path = join(folder, `${name.split('.').at(-1) ?? ''}.json`)
  if (!(await exists(path))) {
    throw new KvxError('DAMAGED', `${shownPath(folder)} has no manifest, so that it counts for nothing`, {
      hint: 'put a custodian’s copy of the manifest back, or split the key again',
    })
  }
  const signed = await readShareSet(path)
  if (name === `${signed.set.name}.v${signed.set.version}.${signed.set.set.toUpperCase()}`) {
    return { ...signed, folder, path }
  }
  throw new KvxError('DAMAGED', `the manifest ${shownPath(path)} is that of another share set`)
}

/** @throws KvxError FILE_NOT_FOUND, DAMAGED */
export async function readShareSet(path: string): Promise<SignedShareSet> {
  const { bytes } = await readFileCapped(path, { maxBytes: maxManifest, follow: true })
  return parseShareSet(bytes, shownPath(path))
}

/** A set id as a person types it, in its one form. */
export function normalSetId(typed: string): string {
  return typed.trim().toLowerCase()
}

/** The set of an id, typed in any case; undefined where there is none. */
export async function findShareSet(directory: string, id: string): Promise<StoredShareSet | undefined> {
  const wanted = normalSetId(id)
  return (await listShareSets(directory)).sets.find(({ set }) => set.set === wanted)
}

/** Signs and writes a set, new or in place of the old one, durably. */
export async function writeShareSet(
  folder: string,
  set: ShareSet,
  signer: ShareSigner,
): Promise<StoredShareSet> {
  const bytes = encodeShareSet(set, signer)
  const path = join(folder, manifestName(set))
  await writeState(path, bytes)
  return { ...parseShareSet(bytes, shownPath(path)), folder, path }
}

/** A file of a set that must not exist yet, mode 0600. */
export async function writeSetFile(folder: string, name: string, bytes: Uint8Array): Promise<string> {
  const path = join(folder, name)
  await createFile(path, bytes, { mode: 0o600 })
  return path
}

/**
 * The share sets that may open a gate: active, every custodian confirmed or accepted by name, the manifest signed
 * by a known key and for the fingerprint that the keyring has. Without `trust.verify` signatures are not looked
 * at, without `trust.fingerprint` the name and version alone count: a gate gives both.
 */
export async function activeShareSets(
  directory: string,
  name: string,
  version: number,
  trust: { readonly fingerprint?: string; readonly verify?: Verifier } = {},
): Promise<readonly StoredShareSet[]> {
  const { sets } = await listShareSets(directory)
  return sets.filter((stored) => {
    const { set } = stored
    if (set.name !== name || set.version !== version || set.state !== 'active' || !isComplete(set))
      return false
    if (trust.fingerprint !== undefined && set.fingerprint !== trust.fingerprint) return false
    return trust.verify === undefined || verifyShareSet(stored, trust.verify) === 'valid'
  })
}
