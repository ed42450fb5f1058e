import { readFileSync, readdirSync } from 'node:fs'
import { KvxError } from '../core/errors.ts'
import type { Notice } from './notices.ts'
import { swapWarning } from './harden.ts'

/** What somebody who handles shares may insist on. */
export type Requirements = { readonly noSwap: boolean; readonly offline: boolean }

/**
 * What of the machine could give a key or a share away.
 * @throws KvxError UNSAFE_PROCESS for what the operator insisted on: nothing was read yet
 */
export function lookAround(required: Requirements): readonly Notice[] {
  const swap = swapWarning()
  if (swap !== undefined && required.noSwap) {
    throw new KvxError('UNSAFE_PROCESS', 'memory can reach an unencrypted swap area', {
      hint: 'Turn it off with `swapoff -a`, or leave out `--require-no-swap`. Nothing was read.',
    })
  }
  const online = onlineInterfaces()
  if (required.offline && online.length > 0) {
    throw new KvxError('UNSAFE_PROCESS', `this machine is on a network: ${online.join(', ')}`, {
      hint: `Pull the cable, or \`ip link set ${online[0] ?? 'eth0'} down\`. Nothing was read.`,
      details: { interfaces: online },
    })
  }
  return swap === undefined ? [] : [{ code: 'SWAP', message: swap }]
}

/**
 * Network interfaces that have a carrier, the loopback aside.
 * @param folder `/sys/class/net`, or a picture of it
 */
export function onlineInterfaces(folder = '/sys/class/net'): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => text(`${folder}/${name}/type`) !== loopbackType)
      .filter((name) => text(`${folder}/${name}/carrier`) === '1')
      .sort()
  } catch {
    return []
  }
}

/** ARPHRD_LOOPBACK of if_arp.h. */
const loopbackType = '772'

/** Environment variables of what keeps or carries the picture of a terminal. */
const recorders: Readonly<Record<string, string>> = {
  ASCIINEMA_REC: 'asciinema records this terminal',
  STY: 'this terminal is inside screen, which may keep or log it',
  TMUX: 'this terminal is inside tmux, which may keep or log it',
  SSH_CONNECTION: 'this terminal is on another machine',
}

/** What keeps what is shown: others than the person in front of the screen could read it later. */
export function recordingNotices(env: NodeJS.ProcessEnv = process.env): readonly Notice[] {
  const found = Object.entries(recorders).filter(([name]) => (env[name] ?? '') !== '')
  const messages = found.map(([, message]) => message)
  if (text(`/proc/${process.ppid}/comm`) === 'script') messages.push('script(1) records this terminal')
  return messages.map((message) => ({
    code: 'RECORDED',
    message: `${message}: a share that is shown may stay`,
  }))
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
