import { join } from 'node:path'
import { createHash } from 'node:crypto'
import { listShareSets, type StoredShareSet } from '../backup/shares/share-sets.ts'
import { listBackups } from '../backup/backups.ts'
import { isKvxError } from '../core/errors.ts'
import { listDirectory, makeDirectory, readFileCapped } from '../platform/files.ts'
import { writeState } from '../platform/state-file.ts'
import { packaged } from '../platform/packaged.ts'
import { readKeyring, versionsOf } from '../keyring/keyring.ts'
import { openWorkspace, type Workspace } from '../keyring/workspace.ts'
import type { ConfigOptions } from '../config/config.ts'
import { digestOf, digestOfHex } from './digest.ts'
import type { CeremonyRecord } from './record.ts'

/** SHA-256 over the program that runs: names and bytes of its files, in order. It stands in plans and records. */
export async function programDigest(): Promise<string> {
  const hash = createHash('sha256')
  for (const folder of ['bin', 'dist/cli']) {
    const path = await packaged(folder)
    if (path === undefined) continue
    for (const name of await listDirectory(path)) {
      const { bytes } = await readFileCapped(join(path, name), { maxBytes: 64 * 1024 * 1024, follow: true })
      hash.update(`${folder}/${name}\0${bytes.length}\0`).update(bytes)
    }
  }
  return hash.digest('hex')
}

/** The home, where there is one: a recovery may begin without. */
export async function findWorkspace(options: ConfigOptions): Promise<Workspace | undefined> {
  try {
    return await openWorkspace(options)
  } catch (error) {
    if (isKvxError(error, 'CONFIG_NOT_FOUND') || isKvxError(error, 'HOME_NOT_FOUND')) return undefined
    throw error
  }
}

/** The newest share set of a key, as people name it. */
export async function newestSet(workspace: Workspace, key: string): Promise<StoredShareSet | undefined> {
  const { sets } = await listShareSets(workspace.home.backups)
  return sets.findLast(({ set }) => set.name === key)
}

/** NAME@VERSION of the newest version that has material. */
export async function newestVersion(workspace: Workspace, name: string): Promise<string | undefined> {
  const record = (await readKeyring(workspace.home)).keys[name]
  const found = record && versionsOf(record).findLast(([, { fingerprint }]) => fingerprint !== null)
  return found && `${name}@${found[0]}`
}

/** What the home says of the key at the end: its newest version, and the share set that the ceremony made. */
export async function keyFacts(
  workspace: Workspace,
  name: string,
  started: string,
): Promise<Pick<CeremonyRecord, 'key' | 'shareSet' | 'auditKey'>> {
  const record = (await readKeyring(workspace.home)).keys[name]
  const newest =
    record === undefined
      ? undefined
      : versionsOf(record).findLast(([, { fingerprint }]) => fingerprint !== null)
  const fingerprint = newest?.[1].fingerprint ?? null
  const set = (await newestSet(workspace, name))?.set
  return {
    auditKey: workspace.signer.publicKeyFingerprint,
    key:
      newest === undefined || fingerprint === null
        ? null
        : { name, version: newest[0], fingerprint, words: digestOfHex(fingerprint).words },
    shareSet:
      set === undefined || set.created < started
        ? null
        : {
            set: set.set.toUpperCase(),
            threshold: set.threshold,
            of: set.of,
            state: set.state,
            supersedes: set.supersedes.map((id) => id.toUpperCase()),
            shares: set.shares.map(({ index, custodian, digest, sha256, confirmations }) => ({
              index,
              custodian,
              digest,
              delivery: sha256 === null ? null : { sha256 },
              confirmed: confirmations[0]?.at ?? null,
            })),
          },
  }
}

/** The manifests of what the ceremony made: public, and by their digests they bind the encrypted files. */
export async function newManifests(
  workspace: Workspace,
  key: string,
  started: string,
): Promise<readonly string[]> {
  const { backups } = await listBackups(workspace.home.backups)
  const { sets } = await listShareSets(workspace.home.backups)
  return [
    ...backups
      .filter(({ manifest }) => manifest.name === key && manifest.created >= started)
      .map(({ manifestPath }) => manifestPath),
    ...sets.filter(({ set }) => set.name === key && set.created >= started).map(({ path }) => path),
  ]
}

const maxArtefact = 64 * 1024 * 1024

/** Copies files beside the record, so that what was hashed stays what it was. */
export async function keepArtefacts(
  folder: string,
  files: readonly string[],
): Promise<CeremonyRecord['artefacts']> {
  if (files.length > 0) await makeDirectory(folder, 0o700)
  const kept: CeremonyRecord['artefacts'] = []
  for (const file of files) {
    const { bytes } = await readFileCapped(file, { maxBytes: maxArtefact, follow: true })
    const path = artefactName(
      file,
      kept.map((one) => one.path),
    )
    await writeState(join(folder, path), bytes)
    kept.push({ path, ...digestOf(bytes) })
  }
  return kept
}

function artefactName(file: string, taken: readonly string[]): string {
  const plain =
    (file.split('/').at(-1) ?? '').replaceAll(/[^\w.-]/g, '_').replace(/^[^A-Za-z0-9]+/, '') || 'file'
  const names = [plain, ...Array.from({ length: 99 }, (_, at) => `${at + 2}-${plain}`)]
  return names.find((name) => !taken.includes(name)) ?? plain
}
