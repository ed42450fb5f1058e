import type { Composition } from './composition.ts'

// Compositions that have a name of their own. Each is what an operator could write, but for Fernet's time.

/** RFC 7518, 5.2: the first half of the key is the MAC's, the MAC is cut to half. */
function jwe(bits: 128 | 192 | 256, hash: Composition['hash']): Composition {
  const half = bits / 8
  return {
    name: `a${bits}cbc-hs${2 * bits}`,
    bits,
    mode: 'cbc',
    hash,
    macPart: 'tag',
    macLength: half,
    mac: 'aad nonce ct bits64(aad)',
    macKey: `slice(key, 0, ${half})`,
    cipherKey: `slice(key, ${half}, ${half})`,
    keyLength: 2 * half,
  }
}

/** A token of Fernet without its base64url: 0x80 time:8 nonce:16 ct mac:32. */
function fernet(name: string, bits: 128 | 256): Composition {
  const half = bits / 8
  return {
    name,
    bits,
    mode: 'cbc',
    hash: 'sha256',
    macPart: 'mac',
    macLength: 32,
    otherParts: ['time'],
    mac: '0x80 time nonce ct',
    macKey: `slice(key, 0, ${half})`,
    cipherKey: `slice(key, ${half}, ${half})`,
    keyLength: 2 * half,
    covered: (name, value) => (name === 'time' && typeof value === 'bigint' ? eightBytes(value) : value),
  }
}

function eightBytes(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return bytes
}

/** draft-mcgrew-aead-aes-cbc-hmac-sha2 as MongoDB uses it: keys of 96 bytes, of which the last 32 do nothing here. */
const mongodb: Composition = {
  name: 'mongodb-fle1',
  bits: 256,
  mode: 'cbc',
  hash: 'sha512',
  macPart: 'mac',
  macLength: 32,
  mac: 'aad nonce ct bits64(aad)',
  macKey: 'slice(key, 0, 32)',
  cipherKey: 'slice(key, 32, 32)',
  keyLength: 96,
}

export const presets: readonly Composition[] = [
  jwe(128, 'sha256'),
  jwe(192, 'sha384'),
  jwe(256, 'sha512'),
  fernet('fernet', 128),
  fernet('fernet-256', 256),
  mongodb,
]
