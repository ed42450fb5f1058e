import { keyWrapNamed, keyWrapNames } from '../aead/key-wrap.ts'
import { KvxError } from '../errors.ts'
import { nearest } from '../layout/nearest.ts'
import { aeadCiphers } from './aead-cipher.ts'
import type { Cipher, CipherOptions } from './cipher.ts'
import { composedCipher, type Composition } from './composition.ts'
import { keyWrapCipher } from './key-wrap-cipher.ts'
import { legacyCiphers } from './legacy-cipher.ts'
import { presets } from './presets.ts'
import { sivCipher } from './siv-cipher.ts'

/** How a cipher is made, and which options it takes. */
type Entry = {
  readonly takes: readonly (keyof CipherOptions)[]
  make(options: CipherOptions): Cipher
}

const compositions = ([128, 192, 256] as const).flatMap((bits) =>
  (['cbc', 'ctr'] as const).flatMap((mode) =>
    (['sha256', 'sha384', 'sha512'] as const).map(
      (hash) => ({ name: `aes-${bits}-${mode}-hmac-${hash}`, bits, mode, hash, macPart: 'mac' }) as const,
    ),
  ),
)

const registry: ReadonlyMap<string, Entry> = new Map<string, Entry>([
  ...[...aeadCiphers, sivCipher].map(ready),
  ...keyWrapNames.map(wrapping),
  ...compositions.map(composed),
  ...presets.map((preset) => ready(composedCipher(preset))),
  ...legacyCiphers.map(ready),
])

/** Every name that {@link cipherNamed} knows. */
export const cipherNames: readonly string[] = [...registry.keys()]

/**
 * @throws CONFIG_INVALID for an unknown name and for options that the cipher does not take or lacks,
 * LAYOUT_INVALID for an option whose expression is wrong
 */
export function cipherNamed(name: string, options: CipherOptions = {}): Cipher {
  const entry = registry.get(name)
  if (entry === undefined) throw unknown(name)
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined || entry.takes.some((taken) => taken === option)) continue
    const hint = entry.takes.length === 0 ? 'leave it out' : `it takes ${entry.takes.join(', ')}`
    throw new KvxError('CONFIG_INVALID', `${name} has no option ${option}`, { hint })
  }
  return entry.make(options)
}

function unknown(name: string): KvxError {
  const like = nearest(name, cipherNames)
  return new KvxError('CONFIG_INVALID', 'a cipher has a name that kvx does not know', {
    hint: like === undefined ? `use one of ${cipherNames.join(', ')}` : `write ${like}`,
  })
}

function ready(cipher: Cipher): readonly [string, Entry] {
  return [cipher.name, { takes: [], make: () => cipher }]
}

function wrapping(name: string): readonly [string, Entry] {
  const make = ({ initialValue }: CipherOptions): Cipher => keyWrapCipher(keyWrapNamed(name), initialValue)
  return [name, { takes: ['initialValue'], make }]
}

function composed(composition: Omit<Composition, 'mac' | 'macKey' | 'cipherKey'>): readonly [string, Entry] {
  return [
    composition.name,
    {
      takes: ['mac', 'macKey', 'cipherKey'],
      make({ mac, macKey, cipherKey }) {
        if (mac !== undefined) return composedCipher({ ...composition, mac, macKey, cipherKey })
        throw new KvxError('CONFIG_INVALID', `${composition.name} lacks its option mac`, {
          hint: 'write what the MAC covers, e.g. mac: nonce ct',
        })
      },
    },
  ]
}
