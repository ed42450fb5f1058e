import type { KeyConfig } from '../config/schema.ts'
import type { Secret } from '../core/secret.ts'
import { randomPrintable, randomSecret } from '../platform/random.ts'

/** What a new version is made of where the configuration says nothing else. */
const usualBytes = 32

/** How many bytes of material a new version has. */
export function newLength({ make }: KeyConfig): number {
  if (make === undefined) return usualBytes
  return 'bytes' in make ? make.bytes : make.characters
}

/** Whether a new version is printable text, for an application that reads its key as characters. */
export function isPrintable({ make }: KeyConfig): boolean {
  return make !== undefined && 'characters' in make
}

/** Fresh material as the key's application takes it: random bytes, or characters of six random bits each. */
export function newMaterial(config: KeyConfig): Secret {
  const length = newLength(config)
  return isPrintable(config) ? randomPrintable(length) : randomSecret(length)
}
