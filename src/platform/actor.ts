import { hostname, userInfo } from 'node:os'

/**
 * Who runs this: `alice (uid 1000) on host`. Under sudo it is the person who called it, since root alone says
 * nothing; the two variables count only when the process is root, who could write anything anyway.
 */
export function currentActor(): string {
  const user = sudoUser() ?? ownUser()
  return `${user.name === undefined ? '' : `${user.name} `}(uid ${user.uid}) on ${printable(hostname())}`
}

type User = { readonly name: string | undefined; readonly uid: number }

function sudoUser(): User | undefined {
  const name = process.env['SUDO_USER']
  const uid = process.env['SUDO_UID']
  if (process.geteuid?.() !== 0 || !name || !uid || !/^\d{1,10}$/.test(uid)) return undefined
  return { name: printable(name), uid: Number(uid) }
}

function ownUser(): User {
  const uid = process.getuid?.() ?? -1
  try {
    return { name: printable(userInfo().username), uid }
  } catch {
    return { name: undefined, uid } // a uid without an account, as containers have it
  }
}

function printable(text: string): string {
  return text.replaceAll(/[^\w.@+-]/g, '?').slice(0, 64)
}
