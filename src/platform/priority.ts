import { readdirSync } from 'node:fs'
import { constants, setPriority } from 'node:os'

/**
 * Every other program goes first on the processors of this machine, a database server for one. Each thread has a
 * priority of its own, and those that start later take that of the thread that starts them. There is no way back.
 */
export function giveProcessorsAway(): void {
  for (const thread of readdirSync('/proc/self/task')) {
    try {
      setPriority(Number(thread), constants.priority.PRIORITY_BELOW_NORMAL)
    } catch {
      // It ended just now, or the machine does not let it: the work is the same.
    }
  }
}
