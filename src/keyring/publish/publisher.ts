import { KvxError } from '../../core/errors.ts'
import { fingerprintOf } from '../../core/fingerprint.ts'
import type { Secret } from '../../core/secret.ts'

/** What a published place shall hold. A missing slot is cleared. */
export type Slots = { readonly current: Secret | undefined; readonly previous: Secret | undefined }

/** What a published place holds: fingerprints, `undefined` for an empty slot, `unreadable` for anything else. */
export type PublishedSlots = {
  readonly current: string | undefined
  readonly previous: string | undefined
}

export const unreadable = 'unreadable'

export type SlotName = 'current' | 'previous'

/**
 * One place where an application reads a key. Published places are derived copies: the home is true, and they
 * are compared with it by fingerprint.
 */
export type Publisher = {
  /** `env-file /etc/app.env#KEK`, for messages. */
  readonly place: string
  /** Where a person looks: the file, or the program. */
  readonly path: string
  /** Whether readers can open with a second key: without it a rotation needs the application stopped. */
  readonly hasPrevious: boolean
  /** The keyring keeps which versions were handed over: nothing in the file system tells. */
  readonly isHandedOver: boolean

  /**
   * The material that lies there now; undefined for an empty slot and for one that nothing can read.
   * @throws KEY_MALFORMED and its like, FILE_NOT_FOUND, TOOL_FAILED
   */
  readSlot(slot: SlotName): Promise<Secret | undefined>

  /** Fingerprints of what lies there now; never throws for what a slot holds. */
  inspect(): Promise<PublishedSlots>

  /**
   * Whether `write` would be refused for what the place is: asked before anything else is done.
   * @throws UNSAFE_MODE, CONFIG_INVALID, TOOL_MISSING
   */
  check(): Promise<void>

  /**
   * Writes both slots, keeps owner, mode, ACL and every other byte of the file, and is durable when it returns.
   * An env file and a manifest change in one step; so do two key files that are to hold each other's key, where they
   * are open to the same people and the machine can exchange names. Otherwise two key files, and always two programs,
   * change one after the other: a reader that starts in between finds one key in both, which a repetition of the
   * command ends. With no current slot the place is taken away (one-slot applications fail closed during an offline
   * rotation) and comes back with the access that it had.
   */
  write(slots: Slots): Promise<void>
}

/** The fingerprints of both slots, whatever they hold. */
export async function inspectSlots(
  readSlot: (slot: SlotName) => Promise<Secret | undefined>,
): Promise<PublishedSlots> {
  return {
    current: await fingerprintIn(readSlot, 'current'),
    previous: await fingerprintIn(readSlot, 'previous'),
  }
}

async function fingerprintIn(
  readSlot: (slot: SlotName) => Promise<Secret | undefined>,
  slot: SlotName,
): Promise<string | undefined> {
  try {
    const material = await readSlot(slot)
    if (material === undefined) return undefined
    const fingerprint = fingerprintOf(material)
    material.wipe()
    return fingerprint
  } catch (error) {
    if (error instanceof KvxError) return unreadable
    throw error
  }
}

/** @throws UNSAFE_MODE for a file that other people's programs read too */
export function refuseReadableByAll(path: string, mode: number): void {
  if ((mode & 0o004) === 0) return
  throw new KvxError('UNSAFE_MODE', `every user of this machine can read ${path}`, {
    hint: `No key is published there. Take the right away first: \`chmod o-r ${path}\``,
  })
}

/**
 * The order in which two slots change one after the other: a second key that arrives is readable before anything
 * can be sealed with it, and one that leaves goes when the current one is in place.
 */
export function slotOrder(slots: Slots): readonly SlotName[] {
  return slots.previous === undefined ? ['current', 'previous'] : ['previous', 'current']
}
