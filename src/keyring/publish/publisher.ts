import type { Secret } from '../../core/secret.ts'

/** What a published place shall hold. A missing slot is cleared. */
export type Slots = { readonly current: Secret | undefined; readonly previous: Secret | undefined }

/** What a published place holds: fingerprints, `undefined` for an empty slot, `unreadable` for anything else. */
export type PublishedSlots = {
  readonly current: string | undefined
  readonly previous: string | undefined
}

export const unreadable = 'unreadable'

/**
 * One place where an application reads a key. Published places are derived copies: the home is true, and they
 * are compared with it by fingerprint.
 */
export type Publisher = {
  /** `env-file /etc/app.env#KEK`, for messages. */
  readonly place: string
  readonly path: string
  /** Whether readers can open with a second key: without it a rotation needs the application stopped. */
  readonly hasPrevious: boolean

  /** The material that lies there now. @throws KEY_MALFORMED and its like, FILE_NOT_FOUND */
  readSlot(slot: 'current' | 'previous'): Promise<Secret | undefined>

  /** Fingerprints of what lies there now; never throws for what a slot holds. */
  inspect(): Promise<PublishedSlots>

  /**
   * Whether `write` would be refused for what the place is: asked before anything else is done.
   * @throws UNSAFE_MODE, CONFIG_INVALID
   */
  check(): Promise<void>

  /**
   * Writes both slots, keeps owner, mode, ACL and every other byte of the file, and is durable when it returns.
   * An env file changes in one step. Two key files change one after the other: a reader that starts in between
   * finds one key in both, which a repetition of the command ends. With no current slot the place is taken away
   * (one-slot applications fail closed during an offline rotation) and comes back with the access that it had.
   */
  write(slots: Slots): Promise<void>
}
