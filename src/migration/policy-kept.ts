import type { Config } from '../config/config.ts'
import { isKvxError } from '../core/errors.ts'
import { homeAt } from '../keyring/home.ts'
import { openWorkspace } from '../keyring/workspace.ts'
import { exists } from '../platform/files.ts'
import { Journal } from './journal.ts'
import { type DueItem, takeStatus } from './status.ts'

/**
 * What the policy of a configuration asks for and its home does not keep. Where there is no home, or none that this
 * user may enter, as in CI, there is nothing to say.
 */
export async function unkeptByHome(config: Config): Promise<readonly DueItem[]> {
  if (!(await exists(homeAt(config.home).keyring).catch(() => false))) return []
  try {
    const workspace = await openWorkspace({ config: config.path })
    const journal = Journal.open(workspace.home, { look: true })
    try {
      const { due } = await takeStatus(workspace, journal)
      return due.filter(({ code }) => isPolicy(code, config))
    } finally {
      journal.close()
    }
  } catch (error) {
    if (isKvxError(error)) return []
    throw error
  }
}

function isPolicy(code: DueItem['code'], { policy }: Config): boolean {
  if (code === 'DRILL_DUE') return policy.drill !== undefined
  if (code === 'NO_TESTED_BACKUP' || code === 'WITHOUT_BACKUP') return policy.backups !== undefined
  return ['CRYPTOPERIOD_SEAL', 'CRYPTOPERIOD_OPEN', 'VALUES_LIMIT', 'BACKUPS_FEWER'].includes(code)
}
