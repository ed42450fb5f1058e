import { type KubernetesPlace, labelOf } from '../../config/publishers.ts'
import { isKvxError, KvxError } from '../../core/errors.ts'
import { decodeKey, encodeKey } from '../../core/key-encoding.ts'
import type { Secret } from '../../core/secret.ts'
import { createFile } from '../../platform/create-file.ts'
import { exists, readFileCapped } from '../../platform/files.ts'
import { replaceFile } from '../../platform/replace-file.ts'
import { keyLengths } from '../key-lengths.ts'
import { findSecret, invalid, refuseImmutable } from './manifest.ts'
import { readEntry, withEntry } from './manifest-entry.ts'
import { inspectSlots, type Publisher, refuseReadableByAll, type SlotName, type Slots } from './publisher.ts'

/** As large as a Secret can be, several times over. */
const maxManifestBytes = 4 * 1_048_576

/**
 * Values of a Secret in a manifest. Kubernetes has base64 around whatever the container gets: a key that the
 * application reads in base64 lies there in base64 of base64. Comments and everything else stay to the byte.
 */
export function kubernetesPublisher(place: KubernetesPlace): Publisher {
  const { file } = place
  const wanted = { path: file, name: place.name, namespace: place.namespace }
  const keys = { current: place.current, previous: place.previous }

  async function readSlot(slot: SlotName): Promise<Secret | undefined> {
    const key = keys[slot]
    if (key === undefined || !(await exists(file))) return undefined
    return withManifest(file, ({ bytes }) => {
      const content = readEntry(bytes, wanted, key)
      try {
        return content && decoded(content, place, key)
      } finally {
        content?.fill(0)
      }
    })
  }

  return {
    place: labelOf(place),
    path: file,
    hasPrevious: place.previous !== undefined,
    isHandedOver: false,
    readSlot,
    inspect: async () => inspectSlots(readSlot),
    check: async () => {
      if (!(await exists(file))) return
      await withManifest(file, ({ bytes, mode }) => {
        refuseReadableByAll(file, mode)
        const all = Object.values(keys).flatMap((key) => key ?? [])
        refuseImmutable(findSecret(bytes, wanted, all), wanted)
        for (const key of all) readEntry(bytes, wanted, key)?.fill(0)
      })
    },
    write: async (slots) => {
      if (!(await exists(file))) return create(place, slots)
      await withManifest(file, async ({ bytes, mode }) => {
        refuseReadableByAll(file, mode)
        refuseImmutable(findSecret(bytes, wanted, []), wanted)
        const next = withSlots(bytes, place, slots)
        try {
          if (!next.equals(bytes)) await replaceFile(file, next)
        } finally {
          next.fill(0)
        }
      })
    },
  }
}

async function withManifest<T>(
  file: string,
  use: (manifest: { readonly bytes: Buffer; readonly mode: number }) => T | Promise<T>,
): Promise<T> {
  const { bytes, facts } = await readFileCapped(file, { maxBytes: maxManifestBytes, follow: true })
  try {
    return await use({ bytes, mode: facts.mode })
  } finally {
    bytes.fill(0)
  }
}

/** @throws CONFIG_INVALID when what would be written could not be read back: nothing was written then */
function withSlots(bytes: Buffer, place: KubernetesPlace, slots: Slots): Buffer {
  const wanted = { path: place.file, name: place.name, namespace: place.namespace }
  const first = withSlot(bytes, place, place.current, slots.current)
  if (place.previous === undefined) return first
  try {
    return withSlot(first, place, place.previous, slots.previous)
  } finally {
    first.fill(0)
  }

  function withSlot(
    from: Buffer,
    { encoding }: KubernetesPlace,
    key: string,
    material: Secret | undefined,
  ): Buffer {
    const content = material && Buffer.from(encodeKey(material, encoding))
    const found = readEntry(from, wanted, key)
    try {
      if (found !== undefined && content?.equals(found) === true) return Buffer.from(from)
      const next = withEntry(from, wanted, key, content)
      const back = readEntry(next, wanted, key)
      const isRight = content === undefined ? back === undefined : back?.equals(content) === true
      back?.fill(0)
      if (isRight) return next
      next.fill(0)
      throw invalid(
        wanted,
        `is written in a way in which ${key} cannot be changed`,
        'Write `data:` as one value a line.',
      )
    } finally {
      content?.fill(0)
      found?.fill(0)
    }
  }
}

async function create(place: KubernetesPlace, slots: Slots): Promise<void> {
  const { file, name, namespace } = place
  const where = namespace === undefined ? '' : `  namespace: ${namespace}\n`
  const head = `apiVersion: v1\nkind: Secret\nmetadata:\n  name: ${name}\n${where}type: Opaque\ndata:\n`
  const fresh = withSlots(Buffer.from(head), place, slots)
  await createFile(file, fresh, { mode: 0o600 }).finally(() => fresh.fill(0))
}

function decoded(content: Buffer, { encoding }: KubernetesPlace, key: string): Secret {
  try {
    return decodeKey(content, encoding, keyLengths(encoding)).material
  } catch (error) {
    if (isKvxError(error, 'KEY_MALFORMED') && encoding !== 'raw' && isRawKey(content)) {
      throw new KvxError(
        'KEY_MALFORMED',
        `${key} is the key's bytes in base64 once, not ${encoding} in base64`,
        {
          hint: 'If the application reads the bytes, declare `encoding: raw`.',
          details: error.details,
        },
      )
    }
    throw error
  }
}

function isRawKey(content: Buffer): boolean {
  try {
    decodeKey(content, 'raw', keyLengths('raw')).material.wipe()
    return true
  } catch {
    return false
  }
}
