import { verifyAudit } from '../audit/verify-audit.ts'
import { sharesFolder } from '../backup/shares/share-sets.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { filesOf } from '../config/publishers.ts'
import { materialPath } from '../keyring/home.ts'
import { readKeyring, versionsOf } from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { hasMaterial, loadMaterial } from '../keyring/material.ts'
import { publicationDrift } from '../keyring/publish/publish.ts'
import type { Workspace } from '../keyring/workspace.ts'
import { supportsAcl } from '../platform/acl.ts'
import { now } from '../platform/clock.ts'
import { exists, listDirectory } from '../platform/files.ts'
import { swapWarning } from '../platform/harden.ts'
import { tempPathOf } from '../platform/temp-file.ts'
import { findTool } from '../platform/tools.ts'
import { unfinishedFolders } from '../platform/whole-folder.ts'
import type { Journal } from './journal.ts'

export type Health = 'ok' | 'warn' | 'stop'

/** One line of `kvx doctor`: what was looked at, how it is, and the command that mends it. */
export type Examination = {
  readonly name: string
  readonly health: Health
  readonly message: string
  readonly remedy: string | undefined
}

const tools: readonly (readonly [string, string, Health])[] = [
  ['setfacl', 'acl', 'stop'],
  ['getfacl', 'acl', 'stop'],
  ['flock', 'util-linux', 'stop'],
  ['cp', 'coreutils', 'stop'],
  ['prlimit', 'util-linux', 'warn'],
  ['gpg', 'gpg', 'warn'],
]

/** Looks at the whole installation and mends nothing. */
export async function examine(workspace: Workspace, journal: Journal): Promise<readonly Examination[]> {
  const ring = await readKeyring(workspace.home)
  return [
    ...examineTools(),
    await examineAcl(workspace),
    examineSwap(),
    ...(await examineKeys(workspace, ring)),
    ...(await examineLeftovers(workspace, ring)),
    ...(await examinePlaces(workspace, ring)),
    ...examineRuns(journal),
    await examineLog(workspace),
    await examineClock(workspace),
  ]
}

function fine(name: string, message: string): Examination {
  return { name, health: 'ok', message, remedy: undefined }
}

function examineTools(): readonly Examination[] {
  const found: Examination[] = []
  for (const [tool, debian, health] of tools) {
    const path = findTool(tool)
    found.push(
      path === undefined
        ? { name: `tool ${tool}`, health, message: 'is missing', remedy: `apt-get install ${debian}` }
        : fine(`tool ${tool}`, path),
    )
  }
  return found
}

async function examineAcl(workspace: Workspace): Promise<Examination> {
  const name = 'ACLs'
  try {
    if (await supportsAcl(workspace.home.path)) return fine(name, 'the file system of the home keeps them')
  } catch (error) {
    // The tools that could tell are missing, which has a line of its own.
    if (!isKvxError(error)) throw error
    return { name, health: 'warn', message: `cannot be looked at: ${error.message}`, remedy: error.hint }
  }
  return {
    name,
    health: 'warn',
    message: 'the file system of the home keeps none',
    remedy: 'Put key files on ext4, xfs or btrfs.',
  }
}

function examineSwap(): Examination {
  const warning = swapWarning()
  if (warning === undefined) return fine('swap', 'no unencrypted swap')
  return {
    name: 'swap',
    health: 'warn',
    message: warning,
    remedy: 'systemd-run -p MemorySwapMax=0 -p LimitCORE=0 kvx …, or encrypt the swap',
  }
}

async function examineKeys(workspace: Workspace, ring: Keyring): Promise<readonly Examination[]> {
  const found: Examination[] = []
  for (const [name, key] of Object.entries(ring.keys)) {
    for (const [version, record] of versionsOf(key)) {
      const subject = `${name}@${version}`
      if (record.state === 'destroyed' && (await hasMaterial(workspace.home, name, version))) {
        const path = materialPath(workspace.home, name, version)
        found.push({
          name: subject,
          health: 'warn',
          message: 'is destroyed, and its key file is there',
          remedy: `rm ${path}`,
        })
      }
      if (record.fingerprint === null || record.state === 'destroyed') continue
      if (record.destruction?.begun !== undefined) {
        const message = 'its erasure was interrupted'
        found.push({ name: subject, health: 'warn', message, remedy: 'kvx destroy --due' })
        continue
      }
      try {
        ;(await loadMaterial(workspace.home, name, version, record)).wipe()
        found.push(fine(subject, 'file, fingerprint and canary agree'))
      } catch (error) {
        if (!(error instanceof KvxError)) throw error
        found.push({ name: subject, health: 'stop', message: error.message, remedy: error.hint })
      }
    }
  }
  return found
}

/** Files that a crash may leave: unfinished ones, and key files without a record. */
async function examineLeftovers(workspace: Workspace, ring: Keyring): Promise<readonly Examination[]> {
  const { home } = workspace
  const found: Examination[] = []
  for (const folder of [home.path, home.keys, home.backups, home.audit]) {
    for (const file of await listDirectory(folder)) {
      if (!/^\..*\.kvx-new$/.test(file)) continue
      const message = 'an unfinished file of a run that died; the next write of that file removes it'
      found.push({ name: `${folder}/${file}`, health: 'warn', message, remedy: `rm ${folder}/${file}` })
    }
  }
  const shares = sharesFolder(home.backups)
  for (const folder of (await exists(shares)) ? await unfinishedFolders(shares) : []) {
    const message = 'a split that died: no share of it counts, and the next `kvx backup split` removes it'
    found.push({ name: `${shares}/${folder}`, health: 'warn', message, remedy: `rm -r ${shares}/${folder}` })
  }
  const recorded = new Set<string>()
  for (const [name, key] of Object.entries(ring.keys)) {
    for (const [version] of versionsOf(key)) {
      if (await hasMaterial(home, name, version)) recorded.add(materialPath(home, name, version))
    }
  }
  for (const file of await listDirectory(home.keys)) {
    const path = `${home.keys}/${file}`
    if (!file.endsWith('.key') || recorded.has(path)) continue
    found.push({
      name: path,
      health: 'warn',
      message: 'a key file without a record',
      remedy: `kvx inspect ${path}`,
    })
  }
  return found
}

async function examinePlaces(workspace: Workspace, ring: Keyring): Promise<readonly Examination[]> {
  const found: Examination[] = []
  for (const [name, config] of Object.entries(workspace.config.keys)) {
    for (const path of config.publish.flatMap(filesOf)) {
      const unfinished = tempPathOf(path)
      if (!(await exists(unfinished))) continue
      const message = 'an unfinished published file of a run that died; it may hold a key'
      const remedy = `rm ${unfinished}, then kvx key publish ${name}`
      found.push({ name: unfinished, health: 'warn', message, remedy })
    }
    if (ring.keys[name] === undefined) continue
    const drift = await publicationDrift(ring, name, config)
    for (const place of drift) {
      const message = 'does not hold what the keyring says'
      found.push({ name: place, health: 'warn', message, remedy: `kvx key publish ${name}` })
    }
    if (drift.length === 0 && config.publish.length > 0)
      found.push(fine(`published ${name}`, 'every place agrees with the keyring'))
  }
  return found
}

function examineRuns(journal: Journal): readonly Examination[] {
  const open = journal.unfinished()
  if (open.length === 0) return [fine('runs', 'none is unfinished')]
  return open.map(({ id, kind, key, status }) => ({
    name: `run ${id}`,
    health: 'warn' as const,
    message: `the ${kind} of ${key} is not finished (${status})`,
    remedy: `kvx run resume ${id}`,
  }))
}

async function examineLog(workspace: Workspace): Promise<Examination> {
  const { entries, problemCount } = await verifyAudit(workspace.home.audit)
  if (problemCount === 0) return fine('audit log', `${entries} entries, chain and signatures right`)
  return {
    name: 'audit log',
    health: 'stop',
    message: `${problemCount} problems`,
    remedy: 'kvx audit verify',
  }
}

async function examineClock(workspace: Workspace): Promise<Examination> {
  let at: string | undefined
  try {
    at = (await workspace.audit.head()).at
  } catch (error) {
    if (!isKvxError(error)) throw error
    return { name: 'clock', health: 'stop', message: error.message, remedy: 'kvx audit verify' }
  }
  if (at === undefined || Date.parse(at) <= now().getTime() + 1000)
    return fine('clock', 'not behind the audit log')
  return {
    name: 'clock',
    health: 'stop',
    message: `behind the last entry of the log, ${at}`,
    remedy: 'Set the clock of this machine.',
  }
}
