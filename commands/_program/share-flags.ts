import * as Flags from '@oclif/core/flags'
import type { Notice } from '../../src/platform/notices.ts'
import { lookAround } from '../../src/platform/surroundings.ts'

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

/** @throws KvxError UNSAFE_PROCESS */
export function surroundings(flags: SurroundingsFlags): readonly Notice[] {
  return lookAround({ noSwap: flags['require-no-swap'], offline: flags['require-offline'] })
}
