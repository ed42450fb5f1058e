/** One OpenPGP packet (RFC 4880, section 4): `bytes` with its header as it lies in the message, `body` without. */
export type Packet = { readonly tag: number; readonly body: Uint8Array; readonly bytes: Uint8Array }

export type FramingProblem = 'not-openpgp' | 'truncated' | 'several-messages'

/** The outer packets of a message and what is wrong with their framing, seen without any key. */
export type Framing = { readonly packets: readonly Packet[]; readonly problem: FramingProblem | undefined }

export const packetTags = { pkesk: 1, skesk: 3, sed: 9, seipd: 18, aead: 20 } as const

const armorBegin = '-----BEGIN PGP MESSAGE-----'
const armorEnd = '-----END PGP MESSAGE-----'

/**
 * Reads the framing of an OpenPGP message, armored or binary. kvx checks with it what it wrote itself, and it
 * explains why gpg refused a file. It never decides about foreign files: gpg does.
 */
export function readFraming(bytes: Uint8Array): Framing {
  const isBinary = ((bytes[0] ?? 0) & 0x80) !== 0
  const unarmored = isBinary ? { bytes, problem: undefined } : unarmor(bytes)
  const framing = splitPackets(unarmored.bytes)
  return { packets: framing.packets, problem: unarmored.problem ?? framing.problem }
}

/**
 * Packets as one armored message (RFC 4880, section 6). The checksum is there because gpg 2.2 needs it to find the
 * end of base64 without padding.
 */
export function armorPackets(packets: readonly Packet[]): Buffer {
  const bytes = Buffer.concat(packets.map((packet) => packet.bytes))
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  const checksum = Buffer.alloc(3)
  checksum.writeUIntBE(crc24(bytes), 0, 3)
  return Buffer.from(`${armorBegin}\n\n${lines.join('\n')}\n=${checksum.toString('base64')}\n${armorEnd}\n`)
}

/** RFC 4880, 6.1. */
function crc24(bytes: Uint8Array): number {
  let crc = 0xb704ce
  for (const byte of bytes) {
    crc ^= byte << 16
    for (let bit = 0; bit < 8; bit++) {
      crc <<= 1
      if ((crc & 0x1000000) !== 0) crc ^= 0x1864cfb
    }
  }
  return crc & 0xffffff
}

/** The key id to which a public-key encrypted session key packet is addressed: 16 upper-case hex digits. */
export function recipientKeyId(packet: Packet): string {
  return Buffer.from(packet.body.subarray(1, 9)).toString('hex').toUpperCase()
}

function unarmor(bytes: Uint8Array): { bytes: Uint8Array; problem: FramingProblem | undefined } {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  const begin = text.indexOf(armorBegin)
  if (begin === -1) return { bytes: new Uint8Array(0), problem: 'not-openpgp' }
  const end = text.indexOf(armorEnd, begin)
  const block = text.slice(begin + armorBegin.length, end === -1 ? undefined : end).replaceAll('\r', '')
  const headerEnd = /\n[ \t]*\n/.exec(block)
  const base64 = headerEnd === null ? '' : block.slice(headerEnd.index).replace(/\n=[A-Za-z0-9+/]{4}\s*$/, '')
  return { bytes: Buffer.from(base64, 'base64'), problem: armorProblem(text, end) }
}

function armorProblem(text: string, end: number): FramingProblem | undefined {
  if (text.split(armorBegin).length > 2) return 'several-messages'
  return end === -1 ? 'truncated' : undefined
}

function splitPackets(bytes: Uint8Array): Framing {
  const packets: Packet[] = []
  let offset = 0
  while (offset < bytes.length) {
    const packet = readPacket(bytes, offset)
    if (typeof packet === 'string') return { packets, problem: packet }
    packets.push(packet)
    offset += packet.bytes.length
  }
  return { packets, problem: packets.length === 0 ? 'not-openpgp' : messageProblem(packets) }
}

/** An encrypted message is session keys and one encrypted packet, nothing behind (RFC 4880, 11.3). */
function messageProblem(packets: readonly Packet[]): FramingProblem | undefined {
  const firstData = packets.findIndex((packet) => !sessionKeyTags.has(packet.tag))
  if (firstData === -1) return 'truncated'
  const behind = packets.slice(firstData + 1)
  const isEncrypted = encryptedTags.has(packets[firstData]?.tag ?? 0)
  const holdsMore = behind.some(({ tag }) => encryptedTags.has(tag) || sessionKeyTags.has(tag))
  return holdsMore || (isEncrypted && behind.length > 0) ? 'several-messages' : undefined
}

const sessionKeyTags: ReadonlySet<number> = new Set([packetTags.pkesk, packetTags.skesk])
const encryptedTags: ReadonlySet<number> = new Set([packetTags.sed, packetTags.seipd, packetTags.aead])

function readPacket(bytes: Uint8Array, start: number): Packet | FramingProblem {
  const first = bytes[start] ?? 0
  if ((first & 0x80) === 0) return 'not-openpgp'
  const isNew = (first & 0x40) !== 0
  const tag = isNew ? first & 0x3f : (first >> 2) & 0x0f
  const parts: Uint8Array[] = []
  let offset = start + 1
  for (;;) {
    const length = isNew ? newLength(bytes, offset) : oldLength(bytes, offset, first & 3)
    if (length === undefined) return 'truncated'
    offset += length.header
    const part = bytes.subarray(offset, offset + length.body)
    if (part.length < length.body) return 'truncated'
    parts.push(part)
    offset += length.body
    if (!length.more) break
  }
  const body = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
  return { tag, body, bytes: bytes.subarray(start, offset) }
}

type Length = { readonly header: number; readonly body: number; readonly more: boolean }

/** RFC 4880, 4.2.2. */
function newLength(bytes: Uint8Array, offset: number): Length | undefined {
  const first = bytes[offset]
  if (first === undefined) return undefined
  if (first < 192) return { header: 1, body: first, more: false }
  if (first >= 224 && first < 255) return { header: 1, body: 2 ** (first & 0x1f), more: true }
  const second = bytes[offset + 1]
  if (second === undefined) return undefined
  if (first < 224) return { header: 2, body: ((first - 192) << 8) + second + 192, more: false }
  const body = bigEndian(bytes, offset + 1, 4)
  return body === undefined ? undefined : { header: 5, body, more: false }
}

/** RFC 4880, 4.2.1; the indeterminate length reaches to the end of the file. */
function oldLength(bytes: Uint8Array, offset: number, type: number): Length | undefined {
  if (type === 3) return { header: 0, body: bytes.length - offset, more: false }
  const header = 2 ** type
  const body = bigEndian(bytes, offset, header)
  return body === undefined ? undefined : { header, body, more: false }
}

function bigEndian(bytes: Uint8Array, offset: number, size: number): number | undefined {
  const part = bytes.subarray(offset, offset + size)
  return part.length < size ? undefined : part.reduce((value, byte) => value * 256 + byte, 0)
}
