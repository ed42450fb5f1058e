import { readKeyring } from '../keyring/keyring.ts'
import { configuredKey, type Workspace } from '../keyring/workspace.ts'
import { Journal } from './journal.ts'
import { refuseOccupiedSlot } from './rotation.ts'
import { refuseUnfinished } from './runs.ts'

/**
 * Whether an imported version may take over from the one that seals: as for a rotation, no run of the key is open
 * and the previous slot is free for the version that steps back.
 * @throws RUN_OPEN, LOCKED, SLOT_OCCUPIED
 */
export async function requireTakeOver(
  workspace: Workspace,
  name: string,
  version: number | undefined,
): Promise<void> {
  const journal = Journal.open(workspace.home, { look: true })
  try {
    await refuseUnfinished(workspace, journal, name)
    const ring = await readKeyring(workspace.home)
    const key = ring.keys[name]
    // The same again, the one in that slot, or one that the import itself refuses.
    if (key === undefined || key.previous === version || (version ?? 0) <= (key.seals ?? 0)) return
    refuseOccupiedSlot(ring, name, configuredKey(workspace.config, name))
  } finally {
    journal.close()
  }
}
