import {
  createDecipheriv,
  createHash,
  createHmac,
  hkdfSync,
  pbkdf2Sync,
  scryptSync,
  type CipherGCMTypes,
} from 'node:crypto'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { secretbox } from '@noble/ciphers/salsa.js'
import { associated, objectOf, part, textOf, type Json, type JsonObject } from './vector-reader.ts'

// Opens what a vector describes with plain node:crypto and noble, and shares nothing with kvx.

/** The key of a level as its application derives it from what is configured. */
export function derivedKey(level: JsonObject, row: JsonObject, key: Buffer): Buffer {
  if (level['kdf'] === undefined) return key
  const kdf = objectOf(level['kdf'])
  const hash = typeof kdf['hash'] === 'string' ? kdf['hash'] : 'sha256'
  const length = Number(kdf['length'] ?? 32)
  const name = textOf(kdf['name'])
  const template = (rules: Json | undefined): Buffer => associated(row, rules, key)
  if (name === 'hkdf') {
    const input = kdf['ikm'] === undefined ? key : template(kdf['ikm'])
    return Buffer.from(hkdfSync(hash, input, saltOf(level, kdf, row), textOf(kdf['info'] ?? ''), length))
  }
  if (name === 'pbkdf2') {
    return pbkdf2Sync(key, saltOf(level, kdf, row), Number(kdf['iterations']), length, hash)
  }
  if (name === 'sha256' || name === 'sha512')
    return createHash(name).update(template(kdf['template'])).digest()
  if (name !== 'scrypt') throw new TypeError(`a derivation that this reader does not know: ${name}`)
  const cost = { N: Number(kdf['N']), r: Number(kdf['r']), p: Number(kdf['p']), maxmem: 2 ** 30 }
  return scryptSync(key, template(kdf['salt']), 32, cost)
}

function saltOf(level: JsonObject, kdf: JsonObject, row: JsonObject): Buffer {
  if (typeof kdf['salt_part'] !== 'string') return Buffer.from(textOf(kdf['salt_utf8'] ?? ''))
  return part(row, objectOf(objectOf(level['parts'])[kdf['salt_part']]))
}

/** Opens a level of a row. Throws when the value does not authenticate. */
export function openAsDescribed(level: JsonObject, row: JsonObject, key: Buffer): Buffer {
  const rules = objectOf(level['parts'])
  const get = (name: string): Buffer =>
    rules[name] === undefined ? Buffer.alloc(0) : part(row, objectOf(rules[name]))
  const aad = associated(row, level['aad'])
  const algorithm = textOf(level['alg'])
  const sealed = rules['ctag'] === undefined ? Buffer.concat([get('ct'), get('tag')]) : get('ctag')
  if (algorithm === 'nacl-secretbox') return Buffer.from(secretbox(key, get('iv')).open(get('ct')))
  if (algorithm === 'xchacha20-poly1305')
    return Buffer.from(xchacha20poly1305(key, get('iv'), aad).decrypt(sealed))
  if (algorithm.startsWith('fernet')) return fernet(key, get('token'))
  if (algorithm === 'mongo-fle1') return mongo(key, get('blob'))
  if (algorithm === 'aes-256-cbc+hmac-sha256') {
    checkMac(createHmac('sha256', key).update(associated(row, level['mac_over'])).digest('hex'), get('mac'))
    return cbc(key, get('iv'), get('ct'))
  }
  if (algorithm === 'aes-kw' || algorithm === 'aes-kwp') {
    const initial = Buffer.from(textOf(level['aiv_hex'] ?? 'a6a6a6a6a6a6a6a6'), 'hex')
    const kind = algorithm === 'aes-kw' ? 'id-aes256-wrap' : 'id-aes256-wrap-pad'
    return createDecipheriv(kind, key, initial).update(get('ct'))
  }
  const split = objectOf(level['kdf'] ?? {})['split_iv'] === true
  return gcm(algorithm, split ? key.subarray(0, 32) : key, split ? key.subarray(32) : get('iv'), {
    sealed,
    aad,
  })
}

function gcm(
  algorithm: string,
  key: Buffer,
  nonce: Buffer,
  { sealed, aad }: { readonly sealed: Buffer; readonly aad: Buffer },
): Buffer {
  const decipher = createDecipheriv(algorithm as CipherGCMTypes, key, nonce, { authTagLength: 16 })
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}

function cbc(key: Buffer, iv: Buffer, ct: Buffer): Buffer {
  const decipher = createDecipheriv(`aes-${key.length * 8}-cbc`, key, iv)
  return Buffer.concat([decipher.update(ct), decipher.final()])
}

function checkMac(expected: string, mac: Buffer): void {
  if (mac.toString() !== expected) throw new Error('the mac differs')
}

function fernet(key: Buffer, token: Buffer): Buffer {
  const half = key.length / 2
  const mac = createHmac('sha256', key.subarray(0, half)).update(token.subarray(0, -32)).digest('hex')
  checkMac(mac, Buffer.from(token.subarray(-32).toString('hex')))
  return cbc(key.subarray(half), token.subarray(9, 25), token.subarray(25, -32))
}

function mongo(key: Buffer, blob: Buffer): Buffer {
  const hmac = createHmac('sha512', key.subarray(0, 32)).update(blob.subarray(0, -32)).update(Buffer.alloc(8))
  checkMac(hmac.digest('hex').slice(0, 64), Buffer.from(blob.subarray(-32).toString('hex')))
  return cbc(key.subarray(32, 64), blob.subarray(0, 16), blob.subarray(16, -32))
}
