import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import {
  activate,
  changeKeyring,
  keyOf,
  readKeyring,
  requireActivatable,
  versionOf,
} from '../keyring/keyring.ts'
import type { Keyring } from '../keyring/keyring-file.ts'
import { hasMaterial, loadMaterial } from '../keyring/material.ts'
import { makePublisher, publishKey } from '../keyring/publish/publish.ts'
import { hasPreviousSlots, reloadReaders } from '../keyring/readers.ts'
import { configuredKey, type Workspace } from '../keyring/workspace.ts'
import type { Journal, RunRow } from './journal.ts'
import { hasSealed } from './rollback.ts'

/**
 * Turns an open rollback round: the new version seals again, and a resume goes on forward. For the day on which the
 * old version is compromised or its key file lost while values are on their way back to it. Repeatable.
 * @returns the run, and whether its version had sealed before, so that readers need not be staged again
 * @throws STATE_TRANSITION when the new version cannot seal, KEYRING_DAMAGED when its key file is missing
 */
export async function turnForward(
  workspace: Workspace,
  journal: Journal,
  run: RunRow,
): Promise<{ readonly run: RunRow; readonly hadSealed: boolean }> {
  const { key: name, toVersion: version } = run
  const ring = await readKeyring(workspace.home)
  const record = versionOf(keyOf(ring, name), name, version)
  if (keyOf(ring, name).seals !== version) requireActivatable(ring, name, version)
  const hadSealed = hasSealed(record.history)
  if (hadSealed) (await loadMaterial(workspace.home, name, version, record)).wipe()
  const lost = await lostVersion(workspace, ring, run)
  const intent = { action: 'run.forward', subject: `${name}@${version}`, run: run.id }
  await withIntent(workspace.audit, intent, async () => {
    if (hadSealed) {
      await changeKeyring(workspace.home, (draft) => {
        activate(draft, name, version, `run ${run.id} goes forward again`)
        const key = keyOf(draft, name)
        if (lost !== undefined && key.previous === lost) key.previous = null
      })
    }
    journal.turnForward(run.id)
    // A rotation publishes in its own steps; values of other runs are sealed from here on.
    if (run.kind !== 'rotate') await publishSealing(workspace, name)
  })
  return { run: journal.get(run.id), hadSealed }
}

async function publishSealing(workspace: Workspace, name: string): Promise<void> {
  const config = configuredKey(workspace.config, name)
  const withdraw = !hasPreviousSlots(config)
  await publishKey(workspace.home, { name, config }, { withdraw })
  if (!withdraw) await reloadReaders(config)
}

/**
 * The old version, when its key file is gone: then no slot can hold it any more.
 * @throws KEYRING_DAMAGED while a published place still has it: that may be the only copy, and is not overwritten
 */
async function lostVersion(workspace: Workspace, ring: Keyring, run: RunRow): Promise<number | undefined> {
  const { key: name, fromVersion: from } = run
  if (from === null || (await hasMaterial(workspace.home, name, from))) return undefined
  const key = keyOf(ring, name)
  const { fingerprint } = versionOf(key, name, from)
  for (const config of configuredKey(workspace.config, name).publish) {
    const publisher = makePublisher(config, key)
    const { current, previous } = await publisher.inspect()
    if (current !== fingerprint && previous !== fingerprint) continue
    throw new KvxError(
      'KEYRING_DAMAGED',
      `the key file of ${name}@${from} is missing, and ${publisher.place} still has the key`,
      {
        hint: `Take it from there first: \`kvx key import ${name} --from … --version ${from}\`, then run the command again.`,
      },
    )
  }
  return from
}
