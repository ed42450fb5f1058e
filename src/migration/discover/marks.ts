import { entropyBits } from './entropy.ts'
import { decodings } from './decodings.ts'

/** What values look like, told without a key. */
export type Looks = { readonly words: string; readonly confidence: 'likely' | 'possible' }

type Mark = { readonly starts: RegExp; readonly words: string }

/** What programs write before what they sealed. The words are ours: nothing of a value is repeated. */
const marks: readonly Mark[] = [
  { starts: /^vault:v\d+:/, words: 'HashiCorp Vault transit (vault:v…)' },
  { starts: /^gAAAAA[A-Za-z0-9_-]{94,}=*$/, words: 'Fernet (gAAAAA…)' },
  { starts: /^ENC\[AES256_GCM,/, words: 'SOPS (ENC[AES256_GCM,…])' },
  { starts: /^k8s:enc:/, words: 'Kubernetes encryption at rest (k8s:enc:…)' },
  { starts: /^U2FsdGVkX1/, words: 'OpenSSL or CryptoJS with a password (Salted__ in base64)' },
  { starts: /^Salted__/, words: 'OpenSSL with a password (Salted__)' },
  { starts: /^\$ANSIBLE_VAULT;/, words: 'Ansible Vault' },
  { starts: /^\$encrypted\$/, words: 'AWX ($encrypted$…)' },
  { starts: /^age-encryption\.org\/v1/, words: 'age' },
  { starts: /^-----BEGIN (PGP MESSAGE|AGE ENCRYPTED FILE)-----/, words: 'an armoured encrypted message' },
  {
    starts: /^(enc|encrypted|cipher|aes|sealed|secret|crypt)(\d+|:v\d+|-v\d+)?[:.$|]/i,
    words: 'a prefix like enc:',
  },
  { starts: /^v\d{1,3}[:.]/, words: 'a prefix with a version, like v1.' },
  {
    starts: /^\{"?(?:p|iv|ct|at|v|ciphertext|nonce|tag|data|value|mac|encrypted)"/,
    words: 'JSON with members of a sealed value',
  },
  { starts: /^eyJpdiI6/, words: 'base64 of JSON with iv, value and mac (Laravel)' },
]

/** What is random, and is not sealed: digests, identifiers, tokens that are signed, compressed files. */
const others: readonly RegExp[] = [
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i,
  /^\$(2[aby]|argon2(id|i|d)|scrypt|pbkdf2[-\w]*|5|6|y|7)\$/,
  /^(sha|md|pbkdf2|bcrypt|scrypt|argon2)[-_\w]*[:$]/i,
  /^eyJ[A-Za-z0-9_-]*\.eyJ[A-Za-z0-9_-]*\./,
  /^-----BEGIN (?!PGP MESSAGE|AGE ENC)/,
  /^(ssh-|ecdsa-|AAAA[BCE]3NzaC1)/,
  /^https?:\/\//,
  /^data:[\w/+.-]*[;,]/,
]

const magics = [
  '89504e47',
  'ffd8ff',
  '1f8b',
  '504b0304',
  '25504446',
  '47494638',
  '52494646',
  '28b52ffd',
  '425a68',
  'fd377a585a',
  '53514c697465',
]

/** Sizes of digests and keys: values that all have one of them are not told from sealed ones by their bytes. */
const digestSizes = new Set([16, 20, 28, 32, 48, 64])

const telling =
  /(^|[_.\-/])(enc|encrypted|cipher(text)?|crypt(ed)?|sealed|secret|wrapped|dek|kek|ct|iv|nonce|auth_?tag|token|password|credential|private)/i

/** @param column its name, which can tell more than bytes do */
export function looksOf(values: readonly Buffer[], column: string): Looks | undefined {
  if (values.length === 0) return undefined
  const texts = values.map((value) => value.subarray(0, 256).toString('latin1'))
  for (const { starts, words } of marks) {
    const marked = texts.filter((text, at) => starts.test(text) && hasBody(values[at])).length
    if (marked * 5 >= values.length) return { words, confidence: 'likely' }
  }
  const random = values.filter((value, at) => !isOther(value, texts[at] ?? '') && isRandom(value))
  if (random.length * 5 < values.length * 4) return undefined
  const sizes = new Set(random.map(sizeOf))
  const [size = 0] = sizes
  if (sizes.size === 1 && digestSizes.has(size) && values.length > 1) return undefined
  const encoding = decodings(values[0] ?? Buffer.alloc(0))[0]?.codec.name ?? 'raw bytes'
  const words = `${encoding === 'raw bytes' ? encoding : `${encoding} text`} of high entropy, ${range(sizes)} bytes`
  return { words, confidence: telling.test(column) ? 'likely' : 'possible' }
}

/** Behind a short word and a sign lies something that was encoded. */
function hasBody(value: Buffer | undefined): boolean {
  if (value === undefined) return false
  const text = value.toString('latin1')
  return !/\s/.test(text.trim()) || /^[{$-]/.test(text) ? value.length >= 28 : false
}

function isOther(value: Buffer, text: string): boolean {
  const start = value.subarray(0, 8).toString('hex')
  return others.some((other) => other.test(text)) || magics.some((magic) => start.startsWith(magic))
}

function decodedOf(value: Buffer): Uint8Array {
  return decodings(value)[0]?.bytes ?? value
}

function sizeOf(value: Buffer): number {
  return decodedOf(value).length
}

function isRandom(value: Buffer): boolean {
  const found = decodings(value)[0]
  const isText = value.every((byte) => byte >= 0x20 && byte < 0x7f)
  if (found === undefined && isText) return false
  const bytes = found?.bytes ?? value
  // Random bytes have nearly log2 of their number; texts stay far below.
  return bytes.length >= 28 && entropyBits(bytes) > 0.85 * Math.min(8, Math.log2(bytes.length))
}

function range(sizes: ReadonlySet<number>): string {
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)]
  return least === most ? String(least) : `${least} to ${most}`
}
