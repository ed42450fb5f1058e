import { withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import { changeKeyring, keyOf, readKeyring } from '../keyring/keyring.ts'
import { removeUnfinishedMaterial } from '../keyring/material.ts'
import { publishKey, type PublishedPlace } from '../keyring/publish/publish.ts'
import { reloadReaders } from '../keyring/readers.ts'
import { configuredKey, type Workspace } from '../keyring/workspace.ts'
import type { Journal, RunRow } from './journal.ts'
import { lockRun } from './runs.ts'

/**
 * Takes a version back that readers may have and that nothing was sealed with. Its number is not used again;
 * its material stays in the home.
 * @throws STATE_TRANSITION when it seals already
 */
export async function unstage(
  workspace: Workspace,
  journal: Journal,
  run: RunRow,
): Promise<readonly PublishedPlace[]> {
  const lock = await lockRun(workspace, run.id)
  try {
    const key = keyOf(await readKeyring(workspace.home), run.key)
    if (key.seals === run.toVersion) {
      throw new KvxError('STATE_TRANSITION', `${run.key}@${run.toVersion} seals already`, {
        hint: `To go back with its values: \`kvx run rollback ${run.id}\`.`,
      })
    }
    const config = configuredKey(workspace.config, run.key)
    const intent = { action: 'key.unstage', subject: `${run.key}@${run.toVersion}`, run: run.id }
    return await withIntent(workspace.audit, intent, async () => {
      await changeKeyring(workspace.home, (ring) => {
        keyOf(ring, run.key).staged = null
      })
      await removeUnfinishedMaterial(workspace.home, run.key, run.toVersion)
      const places = await publishKey(workspace.home, {
        name: run.key,
        config,
      })
      await reloadReaders(config, `kvx rotate ${run.key} --unstage`)
      journal.setStatus(run.id, 'abandoned')
      return places
    })
  } finally {
    lock.release()
  }
}
