import { KvxError } from '../../core/errors.ts'
import { requireNumbers } from '../../core/share/shamir.ts'
import type { BackupWarning } from '../errors.ts'
import { type Recipient, resolveRecipients, type ResolveOptions } from '../recipients.ts'

/** Somebody who gets one share. */
export type Custodian = { readonly name: string; readonly openpgp: string | undefined }

export type SharePlan = {
  readonly threshold: number
  readonly of: number
  readonly custodians: readonly Custodian[]
}

/** A custodian whose OpenPGP key was found and checked. */
export type CheckedCustodian = { readonly name: string; readonly recipient: Recipient }

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
 * @throws NO_TERMINAL naming those without a key: nothing can be encrypted to them; RECIPIENT_UNUSABLE
 */
export async function checkCustodians(
  custodians: readonly Custodian[],
  options: ResolveOptions = {},
): Promise<{ readonly checked: readonly CheckedCustodian[]; readonly warnings: readonly BackupWarning[] }> {
  const without = custodians.filter(({ openpgp }) => openpgp === undefined).map(({ name }) => name)
  if (without.length > 0) {
    throw new KvxError('NO_TERMINAL', `no OpenPGP key is named for ${without.join(', ')}`, {
      hint: 'A share without one has to be handed over on a terminal, which this kvx does not do yet. Give each a key: `--custodian NAME=FINGERPRINT`. Nothing was split.',
      details: { custodians: without },
    })
  }
  const checked: CheckedCustodian[] = []
  const warnings: BackupWarning[] = []
  for (const { name, openpgp = '' } of custodians) {
    const found = await resolveRecipients([openpgp], options)
    warnings.push(...found.warnings)
    for (const recipient of found.recipients) checked.push({ name, recipient })
  }
  return { checked, warnings }
}
