import { KvxError } from './errors.ts'
import { scanJson } from './layout/json-scan.ts'

/** Why a key was not accepted: `details.fault` of every KEY_MALFORMED. */
export type KeyFault =
  | 'length'
  | 'byte-order-mark'
  | 'leading-space'
  | 'trailing-space'
  | 'line-breaks'
  | 'two-keys'
  | 'not-ascii'
  | 'control-character'
  | 'comment'
  | 'env-line'
  | 'quotes'
  | 'pem'
  | 'ssh-key'
  | 'age-key'
  | 'jwk'
  | 'json'
  | 'prefix'
  | 'separators'
  | 'character'
  | 'odd-digits'
  | 'no-padding'
  | 'after-padding'
  | 'spare-bits'
  | 'mixed-alphabets'
  | 'other-encoding'
  | 'encoded-twice'
  | 'passphrase'

type Details = Readonly<Record<string, string | number>>

const copyAgain = 'a part of it is missing or was changed: copy it again from where the application keeps it'
const otherFile = 'name the file that holds the key of the application’s data'

/** What to do where the place of the fault knows nothing better. */
const usualHints: Readonly<Partial<Record<KeyFault, string>>> = {
  length: 'a part of it is missing, or it is written in another way than `--encoding` says',
  'leading-space': 'take the space away',
  'trailing-space': 'take the space away',
  'line-breaks': 'write the key alone, in one line',
  'not-ascii': 'copy it again, or say with `--encoding` how it is written',
  'control-character': 'copy it again, or say with `--encoding` how it is written',
  character: 'copy it again, or say with `--encoding` how it is written',
  'odd-digits': copyAgain,
  'no-padding': copyAgain,
  'after-padding': copyAgain,
  'spare-bits': copyAgain,
  'mixed-alphabets': 'write it in the one that the application reads: `--encoding base64` or `base64url`',
  'ssh-key': otherFile,
  pem: otherFile,
  'age-key': otherFile,
  json: otherFile,
}

export function malformed(
  fault: KeyFault,
  message: string,
  hint = usualHints[fault],
  details: Details = {},
): KvxError {
  return new KvxError('KEY_MALFORMED', message, {
    ...(hint === undefined ? {} : { hint }),
    details: { fault, ...details },
  })
}

export const newline = 0x0a
export const carriageReturn = 0x0d

export function isPrintable(code: number): boolean {
  return code >= 0x20 && code <= 0x7e
}

export function matches(text: Uint8Array, start: string): boolean {
  return text.length >= start.length && Buffer.from(start).every((digit, at) => text[at] === digit)
}

export function holds(text: Uint8Array, characters: string): boolean {
  return Buffer.from(characters).some((code) => text.includes(code))
}

/** True when every byte of the text is one of these characters. Empty texts are not. */
export function consistsOf(text: Uint8Array, characters: string): boolean {
  const codes = Buffer.from(characters)
  return text.length > 0 && text.every((code) => codes.includes(code))
}

export const hexDigits = '0123456789abcdefABCDEF'

const marks = [
  { name: 'UTF-8', bytes: [0xef, 0xbb, 0xbf] },
  { name: 'UTF-16LE', bytes: [0xff, 0xfe] },
  { name: 'UTF-16BE', bytes: [0xfe, 0xff] },
] as const

export function refuseMark(bytes: Uint8Array): void {
  const mark = marks.find((each) => each.bytes.every((byte, at) => bytes[at] === byte))
  if (mark === undefined) return
  throw malformed(
    'byte-order-mark',
    `the key begins with a byte order mark of ${mark.name}`,
    'save the file without a byte order mark',
    { mark: mark.name },
  )
}

const sshStarts = [
  '-----BEGIN OPENSSH',
  'ssh-rsa ',
  'ssh-dss ',
  'ssh-ed25519 ',
  'ecdsa-sha2-',
  'sk-ssh-',
  'PuTTY-User-Key-File',
]

/** True for a whole object or array, so that a key of printable characters may well begin with a brace. */
function isJson(text: Uint8Array): boolean {
  const first = text.find((code) => code > 0x20)
  if (first !== 0x7b && first !== 0x5b) return false
  try {
    scanJson(text, () => {
      throw new SyntaxError('this is not JSON')
    })
    return true
  } catch {
    return false
  }
}

/** Refuses whole documents of other kinds, whose first bytes tell what they are. */
export function refuseDocument(text: Uint8Array): void {
  if (sshStarts.some((start) => matches(text, start))) {
    throw malformed('ssh-key', 'this is an SSH key, which encrypts no data')
  }
  if (matches(text, '-----BEGIN ')) {
    throw malformed('pem', 'this is a PEM file (a key or certificate of another kind)')
  }
  if (matches(text, 'AGE-SECRET-KEY-')) throw malformed('age-key', 'this is a secret key of age')
  if (!isJson(text)) return
  if (Buffer.from(text.buffer, text.byteOffset, text.length).includes('"kty"')) {
    const hint = 'take the member "k" alone and declare `--encoding base64url`, if "kty" is "oct"'
    throw malformed('jwk', 'this is a JSON Web Key', hint)
  }
  throw malformed('json', 'this is JSON, not a key')
}

export function refuseOtherFiles(text: Uint8Array): void {
  if (text[0] === 0x23) {
    throw malformed('comment', 'the key file begins with a comment', 'keep nothing but the key in the file')
  }
  if (matches(text, 'base64:') || matches(text, 'hex:')) {
    throw malformed(
      'prefix',
      'the key begins with the name of an encoding',
      'leave the name and its colon out',
    )
  }
  const equals = text.indexOf(0x3d)
  const name = text.subarray(0, Math.max(equals, 0))
  const isName = consistsOf(name, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_')
  if (isName && equals < text.length - 2 && (text[0] ?? 0) >= 0x41) {
    const hint = 'name the variable: `kvx key import NAME --from env-file:PATH#VARIABLE`'
    throw malformed('env-line', 'this is a line of an env file, not a key', hint)
  }
  const quoted = (text[0] === 0x22 || text[0] === 0x27) && text.at(-1) === text[0]
  if (quoted) throw malformed('quotes', 'the key stands in quotes', 'leave the quotes out')
}

function isLineBreak(code: number | undefined): boolean {
  return code === newline || code === carriageReturn
}

function isSpace(code: number | undefined): boolean {
  return code === 0x20 || code === 0x09 || code === carriageReturn
}

/** Refuses what is around the text: spaces and more line breaks than one at the end. */
export function refuseSpace(text: Uint8Array): void {
  const lines = text.reduce((count, code) => count + (code === newline ? 1 : 0), 1)
  if (lines > 1) {
    const last = text.findLastIndex((code) => !isLineBreak(code))
    if (last >= text.indexOf(newline) && !isLineBreak(text[0])) {
      throw malformed('two-keys', `the file has ${lines} lines, a key is one`, 'keep one key in a file', {
        lines,
      })
    }
    throw malformed('line-breaks', 'the key has empty lines around it; one line break at the end is allowed')
  }
  if (isSpace(text[0])) throw malformed('leading-space', 'the key begins with a space')
  if (isSpace(text.at(-1))) throw malformed('trailing-space', 'the key ends in a space')
}

export function refuseCharacters(text: Uint8Array): void {
  const at = text.findIndex((code) => !isPrintable(code))
  if (at === -1) return
  const [fault, what] =
    (text[at] ?? 0) > 0x7e
      ? ([
          'not-ascii',
          'is not ASCII (look-alikes of digits and letters are not digits and letters)',
        ] as const)
      : (['control-character', 'is a control character'] as const)
  throw malformed(fault, `character ${at + 1} of the key ${what}`, undefined, { position: at + 1 })
}

export function refuseEmpty(bytes: Uint8Array): void {
  if (bytes.some((code) => code !== newline && code !== carriageReturn)) return
  throw new KvxError('INPUT_EMPTY', bytes.length === 0 ? 'the key is empty' : 'the key is an empty line', {
    hint: 'write the key there, or name the place that holds it',
  })
}
