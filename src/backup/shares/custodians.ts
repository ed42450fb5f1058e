import { KvxError } from '../../core/errors.ts'
import { requireNumbers } from '../../core/share/shamir.ts'
import { requireTool } from '../../platform/tools.ts'
import type { BackupWarning } from '../errors.ts'
import { type Recipient, resolveRecipients, type ResolveOptions } from '../recipients.ts'

/** Somebody who gets one share. */
export type Custodian = {
  readonly name: string
  readonly openpgp: string | undefined
  readonly deliver?: DeliverProgram | undefined
}

/** A program that takes an encrypted share on its standard input; `env` are variables of this process that it gets. */
export type DeliverProgram = { readonly command: readonly string[]; readonly env: readonly string[] }

export type SharePlan = {
  readonly threshold: number
  readonly of: number
  readonly custodians: readonly Custodian[]
}

/** A custodian whose OpenPGP key was found and checked, or who gets the share by hand. */
export type CheckedCustodian = {
  readonly name: string
  /** Undefined: there is no file for them. */
  readonly recipient: Recipient | undefined
  /** A card is handed over in the room. */
  readonly byHand: boolean
  /** Hands the encrypted share over; undefined where the file waits in the folder of the set. */
  readonly deliver?: DeliverProgram | undefined
}

/** How shares without an OpenPGP key leave. */
export type HandOverPlan = {
  /** Somebody is at the terminal and can hand cards over. */
  readonly isPossible: boolean
  /** Cards for those with an OpenPGP key too. */
  readonly forAll: boolean
}

const nameForm = /^[^\p{Cc}=]{1,100}$/u

/** `A. Custodian=40 HEX DIGITS`, or the name alone. @throws USAGE */
export function parseCustodian(text: string): Custodian {
  const [name = '', ...rest] = text.split('=')
  const openpgp = rest.join('=').replaceAll(/\s/g, '')
  if (!nameForm.test(name.trim())) {
    throw new KvxError('USAGE', 'a custodian is given as NAME=FINGERPRINT', {
      hint: "for example `--custodian 'A. Custodian=D2FF8AE2A19FE2B1C9B9D8A4B1B9B6E0C0FFEE00'`",
    })
  }
  return { name: name.trim(), openpgp: openpgp === '' ? undefined : openpgp.toUpperCase() }
}

/** Checks numbers and names before any key is touched. @throws USAGE */
export function requirePlan(plan: SharePlan): SharePlan {
  const { threshold, of, custodians } = plan
  requireNumbers({ threshold, of })
  if (custodians.length !== of) {
    throw new KvxError('USAGE', `${of} shares need ${of} custodians, ${custodians.length} are named`, {
      hint: 'name each: `--custodian NAME=FINGERPRINT`, or `backup.shares.custodians` in the configuration',
    })
  }
  const names = custodians.map(({ name }) => name.toLowerCase())
  const keys = custodians.flatMap(({ openpgp }) => openpgp ?? [])
  const twice = custodians.find(
    ({ name, openpgp }) =>
      names.indexOf(name.toLowerCase()) !== names.lastIndexOf(name.toLowerCase()) ||
      (openpgp !== undefined && keys.indexOf(openpgp) !== keys.lastIndexOf(openpgp)),
  )
  if (twice === undefined) return plan
  throw new KvxError('USAGE', `the custodian ${twice.name} or the same OpenPGP key is named twice`, {
    hint: 'two shares in one hand weaken the split: give each to somebody else',
  })
}

/**
 * The checked keys of all custodians, in their order.
 * @throws TOOL_MISSING for a program that delivers; NO_TERMINAL naming those without a key where nobody can hand cards over; RECIPIENT_UNUSABLE
 */
export async function checkCustodians(
  custodians: readonly Custodian[],
  options: ResolveOptions = {},
  cards: HandOverPlan = { isPossible: false, forAll: false },
): Promise<{ readonly checked: readonly CheckedCustodian[]; readonly warnings: readonly BackupWarning[] }> {
  const byHand = custodians.filter(({ openpgp }) => openpgp === undefined || cards.forAll)
  if (byHand.length > 0 && !cards.isPossible) {
    const names = byHand.map(({ name }) => name)
    const why = cards.forAll ? 'cards are asked for, for' : 'no OpenPGP key is named for'
    throw new KvxError('NO_TERMINAL', `${why} ${names.join(', ')}, and there is no terminal`, {
      hint: 'Their shares are handed over as cards at a terminal: run it at one. Or give each a key: `--custodian NAME=FINGERPRINT`. Nothing was split.',
      details: { custodians: names },
    })
  }
  const checked: CheckedCustodian[] = []
  const warnings: BackupWarning[] = []
  for (const { name, openpgp, deliver } of custodians) {
    if (deliver !== undefined) requireTool(deliver.command[0] ?? '')
    if (openpgp === undefined) {
      checked.push({ name, recipient: undefined, byHand: true })
      continue
    }
    const found = await resolveRecipients([openpgp], options)
    warnings.push(...found.warnings)
    for (const recipient of found.recipients) checked.push({ name, recipient, byHand: cards.forAll, deliver })
  }
  return { checked, warnings }
}
