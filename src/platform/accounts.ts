import { KvxError } from '../core/errors.ts'
import { runChild, toolFailed } from './child.ts'
import { type AccountDatabase, localAccount } from './local-accounts.ts'

/** A group as the operator names it: its name, or its number as text or number. */
export type AccountName = string | number

/** The number of a group; a number is taken as it is. @throws KvxError USAGE for a group that is unknown */
export async function groupId(name: AccountName): Promise<number> {
  return await accountId('group', name)
}

/** The number of a user; a number is taken as it is. @throws KvxError USAGE for a user who is unknown */
export async function userId(name: AccountName): Promise<number> {
  return await accountId('passwd', name)
}

/** The name of a group's number, or undefined where none has it. */
export async function groupName(id: number): Promise<string | undefined> {
  return (await lookUp('group', String(id)))?.[0]
}

/** The name of a user's number, or undefined where nobody has it. */
export async function userName(id: number): Promise<string | undefined> {
  return (await lookUp('passwd', String(id)))?.[0]
}

const words = {
  group: { noun: 'group', make: 'groupadd --system' },
  passwd: { noun: 'user', make: 'useradd --system' },
} as const

async function accountId(database: AccountDatabase, name: AccountName): Promise<number> {
  const text = String(name)
  const { noun, make } = words[database]
  if (/^\d+$/.test(text)) {
    const id = Number(text)
    if (id < 0xffffffff) return id // 0xffffffff means "leave as it is" to chown
    throw new KvxError('USAGE', `${text} is not a number of a ${noun}`)
  }
  if (!/^[\p{L}_][\p{L}\p{N}_.@\\-]*\$?$/u.test(text)) {
    throw new KvxError('USAGE', `${JSON.stringify(text)} is not a name of a ${noun}`)
  }
  const id = Number((await lookUp(database, text))?.[2])
  if (Number.isInteger(id)) return id
  throw new KvxError('USAGE', `there is no ${noun} ${text}`, {
    hint: `look with \`getent ${database} ${text}\` or make it with \`${make} ${text}\``,
  })
}

async function lookUp(database: AccountDatabase, key: string): Promise<readonly string[] | undefined> {
  const local = localAccount(database, key)
  if (local !== undefined) return local
  const result = await runChild('getent', [database, key], { timeoutMs: 30_000, ownSession: true })
  if (result.exitCode === 2) return undefined
  if (result.exitCode !== 0)
    throw toolFailed('getent', result.exitCode, `looked up a ${words[database].noun}`)
  return result.stdout.toString('utf8').trimEnd().split(':')
}
