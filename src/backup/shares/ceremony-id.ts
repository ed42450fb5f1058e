import { randomBytes, randomId } from '../../platform/random.ts'

/**
 * What tells one ceremony from another: the id stands on cards, in letters and in the manifest; the nonce is shown in
 * words before a key is read, so that nobody can show a custodian the beginning of one and the end of another.
 */
export type CeremonyId = {
  /** `20270131T090000Z-k3v9x0`, UTC. */
  readonly id: string
  /** 8 random bytes as 16 hex digits. */
  readonly nonce: string
}

export const ceremonyIdForm = /^\d{8}T\d{6}Z-[0-9a-z]{6}$/
export const nonceForm = /^[0-9a-f]{16}$/

export function newCeremonyId(): CeremonyId {
  return { id: randomId(), nonce: randomBytes(8).toString('hex') }
}

/** How a ceremony that is held tells the commands that it runs which one it is. Public, and no more than a name. */
export function asVariable({ id, nonce }: CeremonyId): Readonly<Record<string, string>> {
  return { KVX_CEREMONY: `${id}/${nonce}` }
}

/** The ceremony that runs this command; undefined where somebody typed it. */
export function ceremonyAround(env: NodeJS.ProcessEnv = process.env): CeremonyId | undefined {
  const [id = '', nonce = '', ...more] = (env['KVX_CEREMONY'] ?? '').split('/')
  return ceremonyIdForm.test(id) && nonceForm.test(nonce) && more.length === 0 ? { id, nonce } : undefined
}
