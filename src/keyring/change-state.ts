import { type Intent, withIntent } from '../audit/with-intent.ts'
import { KvxError } from '../core/errors.ts'
import type { KeyState } from '../core/key-state.ts'
import type { Keyring } from './keyring-file.ts'
import { changeKeyring, keyOf, moveState, readKeyring, versionOf } from './keyring.ts'
import type { Workspace } from './workspace.ts'

export type StateChange = { readonly name: string; readonly version: number; readonly reason: string }

/**
 * A change of the keyring alone, with its entries in the log. It is tried on what was read first: what it refuses is
 * refused before the log hears of it, and no byte changes.
 */
export async function changeLogged(
  workspace: Workspace,
  intent: Intent,
  change: (ring: Keyring) => void,
): Promise<void> {
  change(await readKeyring(workspace.home))
  await withIntent(workspace.audit, intent, async () => changeKeyring(workspace.home, change))
}

/**
 * `suspended` neither seals nor opens until `resumeVersion`; `compromised` opens only to move values away.
 * Published places are not touched: readers would lose their key before their data moved.
 * @throws STATE_TRANSITION
 */
export async function setState(workspace: Workspace, change: StateChange, to: KeyState): Promise<void> {
  const { name, version, reason } = change
  const subject = `${name}@${version}`
  const intent = { action: `key.${to}`, subject, data: { reason } }
  await changeLogged(workspace, intent, (ring) => {
    moveState(versionOf(keyOf(ring, name), name, version), subject, to, reason)
  })
}

/** Back from suspension to what the version was before. @throws STATE_TRANSITION when it is not suspended */
export async function resumeVersion(workspace: Workspace, change: StateChange): Promise<void> {
  const { name, version, reason } = change
  const subject = `${name}@${version}`
  await changeLogged(workspace, { action: 'key.resume', subject, data: { reason } }, (ring) => {
    const key = keyOf(ring, name)
    const record = versionOf(key, name, version)
    if (record.state !== 'suspended') {
      throw new KvxError('STATE_TRANSITION', `${subject} is ${record.state}, not suspended`, {
        hint: `\`kvx key show ${name}\` tells its life.`,
      })
    }
    const before = record.history.findLast(({ to }) => to === 'suspended')?.from ?? 'deactivated'
    // Another version may have begun to seal meanwhile, and only one is active.
    const isSuperseded = before === 'active' && key.seals !== version
    moveState(record, subject, isSuperseded ? 'deactivated' : before, reason)
  })
}
