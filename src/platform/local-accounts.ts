import { readFileSync } from 'node:fs'

/** A database of accounts, as getent(1) and nsswitch.conf(5) call it. */
export type AccountDatabase = 'group' | 'passwd'

const fieldsOf = { group: 4, passwd: 7 } as const

/**
 * The fields of an account's line in /etc/passwd or /etc/group, where nsswitch.conf(5) has these files asked first:
 * then getent says the same and need not be started. Undefined means to ask it: the account may be in a directory
 * service, or the files in another order, in the `compat` form, or broken.
 * @param key a name, or a number as text
 */
export function localAccount(database: AccountDatabase, key: string): readonly string[] | undefined {
  if (firstSource(database) !== 'files') return undefined
  const entries = text(`/etc/${database}`)
  if (/^[+-]/m.test(entries)) return undefined
  const field = /^\d+$/.test(key) ? 2 : 0
  const found = entries
    .split('\n')
    .map((line) => line.split(':'))
    .find((fields) => fields[field] === key)
  return found?.length === fieldsOf[database] && /^\d+$/.test(found[2] ?? '') ? found : undefined
}

/** What is asked first; not where a rule in brackets says what follows from its answer. */
function firstSource(database: AccountDatabase): string | undefined {
  const line = new RegExp(`^${database}:(.*)$`, 'm').exec(text('/etc/nsswitch.conf'))?.[1] ?? ''
  const [first, next] = line.trim().split(/\s+/)
  return next?.startsWith('[') === true ? undefined : first
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
