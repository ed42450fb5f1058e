import { basename, dirname, join } from 'node:path'
import type { FilePublisherConfig } from '../../config/schema.ts'
import { decodeKey, encodeKey } from '../../core/key-encoding.ts'
import type { Secret } from '../../core/secret.ts'
import { createFile } from '../../platform/create-file.ts'
import { exists, readFileCapped, removeFile } from '../../platform/files.ts'
import { moveFile } from '../../platform/move-file.ts'
import { replaceFile } from '../../platform/replace-file.ts'
import { removeLeftover } from '../../platform/temp-file.ts'
import { fingerprintIn } from './env-file.ts'
import type { Publisher, Slots } from './publisher.ts'
import { keyLengths } from '../key-lengths.ts'

const maxKeyFileBytes = 65_536

/** One key a file, with owner, mode and reader groups as declared when kvx creates it, kept when it exists. */
export function keyFilePublisher(config: FilePublisherConfig): Publisher {
  const paths = { current: config.file, previous: config.previous }

  async function readSlot(slot: 'current' | 'previous'): Promise<Secret | undefined> {
    const path = paths[slot]
    if (path === undefined || !(await exists(path))) return undefined
    const { bytes } = await readFileCapped(path, { maxBytes: maxKeyFileBytes, follow: true })
    try {
      return decodeKey(bytes, config.encoding, keyLengths(config.encoding)).material
    } finally {
      bytes.fill(0)
    }
  }

  async function put(path: string, material: Secret | undefined): Promise<void> {
    if (material === undefined) return path === config.file ? withdraw(path) : removeFile(path)
    const bytes = Buffer.from(encodeKey(material, config.encoding))
    try {
      if (await exists(withdrawnPath(path))) await bringBack(path, bytes)
      else if (!(await exists(path))) await createFile(path, bytes, declaredAccess(config))
      else if (!(await holds(path, bytes))) await replaceFile(path, bytes)
      // A process that died right after it placed the file left its first name too: a second one of the same key.
      else await removeLeftover(path)
    } finally {
      bytes.fill(0)
    }
  }

  return {
    place: `file ${config.file}`,
    path: config.file,
    hasPrevious: config.previous !== undefined,
    readSlot,
    inspect: async () => ({
      current: await fingerprintIn(async () => readSlot('current')),
      previous: await fingerprintIn(async () => readSlot('previous')),
    }),
    check: async () => undefined,
    write: async (slots: Slots) => {
      // While a second key arrives, it is readable before anything can be sealed with it; while one leaves, the
      // current one is in place first.
      if (config.previous !== undefined && slots.previous !== undefined)
        await put(config.previous, slots.previous)
      await put(config.file, slots.current)
      if (config.previous !== undefined && slots.previous === undefined) await put(config.previous, undefined)
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
async function bringBack(path: string, bytes: Buffer): Promise<void> {
  const waiting = withdrawnPath(path)
  if (await exists(path)) {
    if (!(await holds(path, bytes))) await replaceFile(path, bytes)
    await removeFile(waiting)
    return
  }
  if (!(await holds(waiting, bytes))) await replaceFile(waiting, bytes)
  await moveFile(waiting, path)
}

async function holds(path: string, bytes: Buffer): Promise<boolean> {
  const found = await readFileCapped(path, { maxBytes: maxKeyFileBytes })
  const equal = found.bytes.equals(bytes)
  found.bytes.fill(0)
  return equal
}

function declaredAccess(config: FilePublisherConfig): Parameters<typeof createFile>[2] {
  return {
    mode: Number.parseInt(config.mode, 8),
    ...(config.owner === undefined ? {} : { owner: config.owner }),
    ...(config.group === undefined ? {} : { group: config.group }),
    readers: config.readers,
  }
}
