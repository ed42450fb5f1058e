import * as Flags from '@oclif/core/flags'
import { ceremonyAround } from '../../src/backup/shares/ceremony-id.ts'
import type { HandOver } from '../../src/keyring/hand-over.ts'
import type { SplitKeyRequest } from '../../src/keyring/split-key.ts'
import { agreeOnSplit } from '../../src/ui/agree-on-split.ts'
import { handOverAt } from '../../src/ui/hand-over-card.ts'
import type { Answers } from '../../src/ui/prompts.ts'

/** Who gets shares, and how many of them rebuild the key. */
export const splitFlags = {
  threshold: Flags.integer({ description: 'how many shares rebuild the key, 2 to 32', helpValue: 'K' }),
  of: Flags.integer({ description: 'how many shares there are; the custodians’ number', helpValue: 'N' }),
  custodian: Flags.string({
    description:
      'who gets a share, with the OpenPGP fingerprint, or the name alone for a card; the configured ones unless told',
    multiple: true,
    helpValue: 'NAME=FPR',
  }),
  'key-file': Flags.string({
    description: 'a file with public keys of custodians',
    multiple: true,
    helpValue: 'FILE',
  }),
}

/** How custodians get cards. */
export const cardFlags = {
  cards: Flags.boolean({ description: 'a card for every custodian, also for those with an OpenPGP key' }),
  'card-dir': Flags.string({
    description: 'a folder in memory for the PDF of one card at a time; shown on the terminal without it',
    helpValue: 'DIR',
  }),
  discreet: Flags.boolean({ description: 'cards that name neither key nor custodian' }),
}

/**
 * What comes before the key is read: a look at the machine, and the agreement of who is here. A ceremony that is
 * held has done both, by its script.
 * @param again the command, for who has to mend something first
 */
export function agreement(
  flags: { readonly 'require-no-swap': boolean; readonly 'require-offline': boolean },
  answers: Answers,
  again: string,
): Pick<SplitKeyRequest, 'ceremony' | 'agree'> {
  const ceremony = ceremonyAround()
  if (ceremony !== undefined) return { ceremony }
  const requirements = { requireNoSwap: flags['require-no-swap'], requireOffline: flags['require-offline'] }
  return {
    agree: async (planned) => agreeOnSplit(planned, { ...requirements, answers, again }),
  }
}

type CardFlags = {
  readonly cards: boolean
  readonly 'card-dir'?: string | undefined
  readonly discreet: boolean
}

/** @param before gives the terminal back where something else reads from it */
export function handOverBy(
  flags: CardFlags,
  answers: Answers,
  before: () => void = () => undefined,
): {
  readonly handOver: HandOver | undefined
  readonly cardsForAll: boolean
  readonly discreet: boolean
} {
  const handOver = handOverAt(answers, flags['card-dir'])
  return {
    handOver:
      handOver &&
      (async (handing) => {
        before()
        return handOver(handing)
      }),
    cardsForAll: flags.cards,
    discreet: flags.discreet,
  }
}
