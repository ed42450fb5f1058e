import { KvxError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'
import { combinePoints } from '../../core/share/shamir.ts'
import { pointLength } from '../../core/share/share-text.ts'
import { runChild, toolFailed } from '../../platform/child.ts'

/** Shares of other programs, from which a key is taken over once: kvx never makes any. */
export type ForeignKind = 'ssss' | 'vault'

export type ForeignKey = {
  /** Right or wrong: neither kind of share says. The caller wipes it. */
  readonly material: Secret
  /** Numbers of the shares: those they carry, or the order in which they came. */
  readonly used: readonly number[]
}

/**
 * Rebuilds what the lines define. They have no checksum and no set, so that a wrong share gives a wrong key: only
 * a fingerprint from elsewhere tells. What can be told by their form is refused, naming the share.
 * @param lines one share each; the caller wipes them
 * @param threshold how many rebuild the key; as many as there are where it is not known
 * @throws KvxError DAMAGED, BACKUP_UNUSABLE, SHARE_MISSING, USAGE, KEY_MALFORMED, TOOL_MISSING, TOOL_FAILED
 */
export async function combineForeign(
  kind: ForeignKind,
  lines: readonly Uint8Array[],
  threshold: number | undefined,
): Promise<ForeignKey> {
  const needed = threshold ?? lines.length
  if (lines.length < needed || lines.length < 2) {
    throw new KvxError('SHARE_MISSING', `have ${lines.length} shares; need ${Math.max(needed, 2)}`, {
      hint: 'ask another custodian, then start again: no share is kept anywhere',
      details: { have: lines.length, need: Math.max(needed, 2) },
    })
  }
  return kind === 'ssss' ? combineSsss(lines, needed) : combineVault(lines)
}

/** `[TOKEN-]INDEX-HEX` as ssss-split(1) prints it. */
type SsssShare = { readonly token: string; readonly index: number; readonly digits: number }

const dash = 0x2d

async function combineSsss(lines: readonly Uint8Array[], needed: number): Promise<ForeignKey> {
  if (lines.length > needed) {
    throw new KvxError('USAGE', `${needed} shares rebuild the key, and ${lines.length} were given`, {
      hint: 'ssss takes exactly as many as it needs: leave the others out',
    })
  }
  const shares = lines.map(parseSsss)
  requireOneSet(shares)
  const isHex = shares[0]?.digits === 64
  const input = Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')]))
  // It says the secret on its standard error, and ends in 0 whatever was entered.
  const args = ['-t', String(needed), '-Q', ...(isHex ? ['-x'] : [])]
  const { exitCode, stdout, stderr } = await runChild('ssss-combine', args, { input }).finally(() =>
    input.fill(0),
  )
  stdout.fill(0)
  try {
    if (exitCode !== 0) throw toolFailed('ssss-combine', exitCode, 'combined the shares')
    return { material: keyIn(lastLine(stderr), isHex), used: shares.map(({ index }) => index) }
  } finally {
    stderr.fill(0)
  }
}

function parseSsss(line: Uint8Array, at: number): SsssShare {
  const end = line.lastIndexOf(dash)
  // Token and number are public; the digits behind them never become a string.
  const head = /^(?:([0-9A-Za-z]{1,128})-)?(\d{1,4})$/.exec(
    Buffer.from(line.subarray(0, end)).toString('latin1'),
  )
  const digits = line.subarray(end + 1)
  const index = Number(head?.[2])
  if (end < 1 || head === null || index < 1 || digits.length < 2 || !digits.every(isHexDigit)) {
    throw new KvxError('DAMAGED', `text ${at + 1} is no share of ssss`, {
      hint: 'it looks like `2-8f3a…` or `name-2-8f3a…`, one share a line',
    })
  }
  return { token: head[1] ?? '', index, digits: digits.length }
}

function isHexDigit(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66) || (code >= 0x41 && code <= 0x46)
}

function requireOneSet(shares: readonly SsssShare[]): void {
  const [first] = shares
  for (const [at, share] of shares.entries()) {
    if (share.token !== first?.token || share.digits !== first.digits) {
      throw refused(
        'set',
        share.index,
        `share ${share.index} is of another set than share ${first?.index ?? 1}`,
      )
    }
    if (shares.slice(0, at).some(({ index }) => index === share.index)) {
      throw refused('twice', share.index, `share ${share.index} was given twice`)
    }
  }
}

function refused(reason: string, index: number, message: string): KvxError {
  return new KvxError('BACKUP_UNUSABLE', message, {
    hint: 'take shares of one split, each from another custodian; nothing was written',
    details: { reason, index },
  })
}

function lastLine(bytes: Buffer): Buffer {
  const end = bytes.at(-1) === 0x0a ? bytes.length - 1 : bytes.length
  return bytes.subarray(bytes.subarray(0, end).lastIndexOf(0x0a) + 1, end)
}

/** 32 bytes as the base64 text that was split, or as hex digits; all else is what wrong shares give. */
function keyIn(text: Buffer, isHex: boolean): Secret {
  const isBase64 = !isHex && text.length === 44 && text.at(-1) === 0x3d
  const bytes = isHex ? fromHex(text) : isBase64 ? fromBase64(text) : undefined
  if (bytes?.length === 32) return Secret.take(bytes)
  bytes?.fill(0)
  throw new KvxError('KEY_MALFORMED', 'these shares do not rebuild a key of 32 bytes', {
    hint: 'one of them is wrong, or too few were given for their split: say how many rebuild it with `--threshold K`. Nothing was written.',
  })
}

function nibble(code: number): number {
  return code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57
}

function fromHex(text: Uint8Array): Buffer | undefined {
  if (text.length % 2 !== 0 || !text.every(isHexDigit)) return undefined
  const bytes = Buffer.allocUnsafeSlow(text.length / 2)
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = (nibble(text[2 * at] ?? 0) << 4) | nibble(text[2 * at + 1] ?? 0)
  }
  return bytes
}

const base64 = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')

/** Strict: padding at its place, no spare bits. */
function fromBase64(text: Uint8Array): Buffer | undefined {
  const end = text.indexOf(0x3d)
  const signs = end === -1 ? text : text.subarray(0, end)
  if (text.length % 4 !== 0 || text.length - signs.length > 2) return undefined
  if (!text.subarray(signs.length).every((code) => code === 0x3d)) return undefined
  const bytes = Buffer.allocUnsafeSlow(Math.floor((signs.length * 3) / 4))
  let [bits, held, at] = [0, 0, 0]
  for (const sign of signs) {
    const value = base64.indexOf(sign)
    if (value === -1) return undefined
    bits = ((bits << 6) | value) & 0xffff
    held += 6
    if (held < 8) continue
    held -= 8
    bytes[at++] = (bits >> held) & 0xff
  }
  return (bits & ((1 << held) - 1)) === 0 ? bytes : undefined
}

/** Unseal or recovery keys of Vault and OpenBao: `y ‖ x` in hex or base64, over the same field as kvx's own. */
async function combineVault(lines: readonly Uint8Array[]): Promise<ForeignKey> {
  const points = lines.map(parseVault)
  try {
    const xs = points.map((point) => point.lend((bytes) => bytes[pointLength - 1] ?? 0))
    xs.forEach((x, at) => {
      const twin = xs.indexOf(x)
      if (x === 0) throw refused('x', at + 1, `share ${at + 1} is forged: its x is 0`)
      if (twin !== at)
        throw refused('twice', at + 1, `shares ${twin + 1} and ${at + 1} are the same, or one is forged`)
    })
    return { material: await combinePoints(points), used: points.map((_, at) => at + 1) }
  } finally {
    for (const point of points) point.wipe()
  }
}

function parseVault(line: Uint8Array, at: number): Secret {
  const bytes = line.length === 2 * pointLength ? fromHex(line) : fromBase64(line)
  if (bytes?.length === pointLength) return Secret.take(bytes)
  bytes?.fill(0)
  throw new KvxError('DAMAGED', `text ${at + 1} is no share of Vault for a key of 32 bytes`, {
    hint: `it has ${2 * pointLength} hex digits or ${(pointLength / 3) * 4} characters of base64, one share a line`,
  })
}
