import { KvxError } from './errors.ts'

/** The six states of NIST SP 800-57 part 1, section 7. */
export type KeyState = 'pre-activation' | 'active' | 'suspended' | 'deactivated' | 'compromised' | 'destroyed'

/**
 * Legal transitions. Back to active is a rollback's way: a deactivated version takes up sealing again until
 * the version that replaced it is retired.
 */
const transitions: Readonly<Record<KeyState, readonly KeyState[]>> = {
  'pre-activation': ['active', 'suspended', 'compromised', 'destroyed'],
  active: ['suspended', 'deactivated', 'compromised'],
  suspended: ['active', 'deactivated', 'compromised', 'destroyed'],
  deactivated: ['active', 'suspended', 'compromised', 'destroyed'],
  compromised: ['destroyed'],
  destroyed: [],
}

/** @throws STATE_TRANSITION when the life of a key has no such step */
export function checkTransition(subject: string, from: KeyState, to: KeyState): void {
  if (transitions[from].includes(to)) return
  throw new KvxError('STATE_TRANSITION', `${subject} is ${from} and cannot become ${to}`, {
    hint: `From ${from} a version can become: ${transitions[from].join(', ') || 'nothing any more'}. See \`kvx key show\`.`,
  })
}

/** A deactivated version opens and never seals; a compromised one opens only to move values away from it. */
export function canOpen(state: KeyState): boolean {
  return state === 'active' || state === 'deactivated' || state === 'compromised'
}
