import { basename, resolve } from 'node:path'
import { KvxError } from '../../core/errors.ts'
import { decodeKey, detectEncoding, type KeyEncoding } from '../../core/key-encoding.ts'
import { readFileCapped } from '../../platform/files.ts'
import type { TrialKey } from './find.ts'

/** A key that is tried from its file, and how it is written there. */
export type FileKey = TrialKey & { readonly file: string; readonly encoding: KeyEncoding }

const maxKeyBytes = 65_536
const lengths = [32, 16, 24]

/**
 * Keys from files: 16, 24 or 32 bytes, raw or as text. Each is called as its file is, in version 1.
 * @throws FILE_NOT_FOUND, KEY_MALFORMED, INPUT_EMPTY, UNSAFE_FILE_TYPE
 */
export async function readKeyFiles(files: readonly string[]): Promise<readonly FileKey[]> {
  const keys: FileKey[] = []
  try {
    for (const file of files) {
      const name = keyName(file, new Set(keys.map((key) => key.name)))
      keys.push({ name, version: 1, file: resolve(file), ...(await readKey(file)) })
    }
    return keys
  } catch (error) {
    for (const { material } of keys) material.wipe()
    throw error
  }
}

async function readKey(file: string): Promise<Pick<FileKey, 'material' | 'encoding'>> {
  const { bytes } = await readFileCapped(resolve(file), { maxBytes: maxKeyBytes, follow: true })
  try {
    let last: unknown
    for (const expectLength of lengths) {
      try {
        const encoding = detectEncoding(bytes, { expectLength })
        return { encoding, material: decodeKey(bytes, encoding, { expectLength }).material }
      } catch (error) {
        // What is said of 32 bytes, the usual length, explains most.
        last ??= error
      }
    }
    throw last
  } finally {
    bytes.fill(0)
  }
}

/** `app.key` becomes `app`; a second one of that name gets a number. */
function keyName(file: string, taken: ReadonlySet<string>): string {
  const plain = basename(file)
    .replace(/\.[^.]*$/, '')
    .replace(/[^A-Za-z0-9_-]+/g, '-')
  const base = /^[A-Za-z0-9]/.test(plain) ? plain.slice(0, 48) : 'key'
  for (let number = 1; number <= 1000; number++) {
    const name = number === 1 ? base : `${base}-${number}`
    if (!taken.has(name)) return name
  }
  throw new KvxError('USAGE', 'there are too many key files of one name')
}
