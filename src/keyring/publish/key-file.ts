import { basename, dirname, join } from 'node:path'
import { type KeyFilePlace, labelOf } from '../../config/publishers.ts'
import type { Secret } from '../../core/secret.ts'
import { createFile } from '../../platform/create-file.ts'
import { exists, readFileCapped, removeFile } from '../../platform/files.ts'
import { moveFile } from '../../platform/move-file.ts'
import { replaceFile } from '../../platform/replace-file.ts'
import { removeLeftover } from '../../platform/temp-file.ts'
import { tradeFiles } from '../../platform/trade-files.ts'
import { type KeyFileForm, keyFileForm } from './key-file-form.ts'
import { inspectSlots, type Publisher, type SlotName, slotOrder, type Slots } from './publisher.ts'

const maxKeyFileBytes = 65_536

/**
 * One key a file, with owner, mode and reader groups as declared when kvx creates it, kept when it exists: a key
 * file, a secret of Docker Compose, a credential of systemd.
 */
export function keyFilePublisher(place: KeyFilePlace): Publisher {
  const paths = { current: place.current, previous: place.previous }
  const form = keyFileForm(place)

  async function readSlot(slot: SlotName): Promise<Secret | undefined> {
    const path = paths[slot]
    return path === undefined || !(await exists(path)) ? undefined : readKey(form, path)
  }

  async function put(path: string, material: Secret | undefined): Promise<void> {
    if (material === undefined) return path === paths.current ? withdraw(path) : removeFile(path)
    const bytes = await form.encode(material, path)
    const same = async (at: string): Promise<boolean> => holds(form, at, material)
    try {
      if (await exists(withdrawnPath(path))) await bringBack(path, bytes, same)
      else if (!(await exists(path))) await createFile(path, bytes, declaredAccess(place))
      else if (!(await same(path))) await replaceFile(path, bytes)
      // A process that died right after it placed the file left its first name too: a second one of the same key.
      else await removeLeftover(path)
    } finally {
      bytes.fill(0)
    }
  }

  /**
   * Where each file holds what the other shall hold, as on the way back from a rotation, they change places in one
   * step: one after the other there would be a moment with one key in both.
   */
  async function trade({ current, previous }: Slots): Promise<void> {
    if (current === undefined || previous === undefined || paths.previous === undefined) return
    if (!(await exists(paths.current)) || !(await exists(paths.previous))) return
    const isCrossed =
      (await holds(form, paths.current, previous)) && (await holds(form, paths.previous, current))
    if (isCrossed) await tradeFiles(paths.current, paths.previous)
  }

  return {
    place: labelOf(place),
    path: place.current,
    hasPrevious: place.previous !== undefined,
    isHandedOver: false,
    readSlot,
    inspect: async () => inspectSlots(readSlot),
    check: async () => form.check(),
    write: async (slots: Slots) => {
      await trade(slots)
      for (const slot of slotOrder(slots)) {
        const path = paths[slot]
        if (path !== undefined) await put(path, slots[slot])
      }
    },
  }
}

/** Where a withdrawn key file waits under another name, with its owner, mode and ACL. */
function withdrawnPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.kvx-withdrawn`)
}

async function withdraw(path: string): Promise<void> {
  if (await exists(path)) await moveFile(path, withdrawnPath(path))
}

/** The withdrawn file gets the new key under its waiting name, then its own name again. */
async function bringBack(
  path: string,
  bytes: Buffer,
  same: (path: string) => Promise<boolean>,
): Promise<void> {
  const waiting = withdrawnPath(path)
  if (await exists(path)) {
    if (!(await same(path))) await replaceFile(path, bytes)
    await removeFile(waiting)
    return
  }
  if (!(await same(waiting))) await replaceFile(waiting, bytes)
  await moveFile(waiting, path)
}

async function readKey(form: KeyFileForm, path: string): Promise<Secret> {
  const { bytes } = await readFileCapped(path, { maxBytes: maxKeyFileBytes, follow: true })
  try {
    return await form.decode(bytes, path)
  } finally {
    bytes.fill(0)
  }
}

/** Whether a file holds this key in just the bytes that kvx would write, where those are always the same. */
async function holds(form: KeyFileForm, path: string, material: Secret): Promise<boolean> {
  const found = await readFileCapped(path, { maxBytes: maxKeyFileBytes })
  try {
    return await form.holds(found.bytes, path, material)
  } finally {
    found.bytes.fill(0)
  }
}

function declaredAccess({ access }: KeyFilePlace): Parameters<typeof createFile>[2] {
  const { owner, group, mode, readers } = access
  return {
    mode: Number.parseInt(mode, 8),
    ...(owner === undefined ? {} : { owner }),
    ...(group === undefined ? {} : { group }),
    readers,
  }
}
