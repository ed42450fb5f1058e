import * as Flags from '@oclif/core/flags'
import { ceremonyAround } from '../../src/backup/shares/ceremony-id.ts'
import { machine } from '../../src/ceremony/preflight.ts'
import type { Notice } from '../../src/platform/notices.ts'
import { lookAround } from '../../src/platform/surroundings.ts'
import { findingLines } from '../../src/ui/ceremony-view.ts'
import { type Answers, canAsk } from '../../src/ui/prompts.ts'

/** Where shares are read from when nobody types them. */
export const shareFdFlag = {
  'share-fd': Flags.integer({
    description: 'read shares from this descriptor: one a line, or in four lines each',
    min: 0,
    helpValue: 'N',
  }),
}

/** What somebody may insist on before keys and shares are handled. */
export const surroundingsFlags = {
  'require-no-swap': Flags.boolean({
    description: 'stop where memory can reach an unencrypted swap area',
    helpGroup: 'SAFETY',
  }),
  'require-offline': Flags.boolean({
    description: 'stop while a network interface has a carrier',
    helpGroup: 'SAFETY',
  }),
}

type SurroundingsFlags = { readonly 'require-no-swap': boolean; readonly 'require-offline': boolean }

/**
 * Shows whoever is here what this machine is, before the first share is asked for. Nothing of it stops: a key comes
 * back on the worst day, too. A ceremony that is held has shown it.
 */
export async function showMachine(flags: SurroundingsFlags, answers: Answers): Promise<void> {
  if (!canAsk(answers) || ceremonyAround() !== undefined) return
  const findings = await machine({
    requireOffline: flags['require-offline'],
    requireNoSwap: flags['require-no-swap'],
    withoutGpg: true,
  })
  process.stderr.write(`${findingLines(findings).join('\n')}\n`)
}

/** @throws KvxError UNSAFE_PROCESS */
export function surroundings(flags: SurroundingsFlags): readonly Notice[] {
  return lookAround({ noSwap: flags['require-no-swap'], offline: flags['require-offline'] })
}
