import { describe, expect, it } from 'vitest'
import { armorPackets, readFraming, recipientKeyId } from '../../src/backup/packets.ts'

const pkesk = Buffer.from([0xc1, 10, 3, 1, 2, 3, 4, 5, 6, 7, 8, 18])
const data = Buffer.from([0xd2, 3, 1, 0xaa, 0xbb])
const message = Buffer.concat([pkesk, data])

describe('readFraming', () => {
  it('names the packets of a binary message and of the same message in armor', () => {
    const binary = readFraming(message)
    const armored = readFraming(armorPackets(binary.packets))
    for (const { packets, problem } of [binary, armored]) {
      expect(problem).toBeUndefined()
      expect(packets.map((packet) => packet.tag)).toEqual([1, 18])
      expect(packets[0] && recipientKeyId(packets[0])).toBe('0102030405060708')
      expect([...(packets[1]?.body ?? [])]).toEqual([1, 0xaa, 0xbb])
    }
  })

  it('reads old headers, long lengths and partial lengths', () => {
    const old = Buffer.from([0x84, 2, 3, 0, 0x85, 0, 2, 3, 0, 0x86, 0, 0, 0, 2, 3, 0])
    const long = Buffer.concat([Buffer.from([0xd2, 0xff, 0, 0, 1, 0]), Buffer.alloc(256, 1)])
    const two = Buffer.concat([Buffer.from([0xd2, 0xc0, 0x08]), Buffer.alloc(200, 1)])
    const partial = Buffer.concat([Buffer.from([0xd2, 0xe1, 1, 2, 0xe0, 3, 1, 4])])
    expect(readFraming(Buffer.concat([old, long])).packets.map((packet) => packet.body.length)).toEqual([
      2, 2, 2, 256,
    ])
    expect(readFraming(two).packets[0]?.body.length).toBe(200)
    expect([...(readFraming(partial).packets[0]?.body ?? [])]).toEqual([1, 2, 3, 4])
  })

  it('calls every shorter part of a message cut off or no message', () => {
    for (let length = 0; length < message.length; length += 1) {
      const { problem } = readFraming(message.subarray(0, length))
      expect(problem, `${length} bytes`).toBe(length === 0 ? 'not-openpgp' : 'truncated')
    }
  })

  it('sees a second message, data behind a message, a missing end of the armor and text without armor', () => {
    const armored = armorPackets(readFraming(message).packets)
    expect(readFraming(Buffer.concat([message, message])).problem).toBe('several-messages')
    expect(readFraming(Buffer.concat([message, Buffer.from([0xcb, 1, 0])])).problem).toBe('several-messages')
    expect(readFraming(Buffer.concat([armored, armored])).problem).toBe('several-messages')
    expect(readFraming(armored.subarray(0, -10)).problem).toBe('truncated')
    expect(readFraming(Buffer.from('hello')).problem).toBe('not-openpgp')
    expect(readFraming(Buffer.from([0xff])).problem).toBe('truncated')
  })
})

describe('armorPackets', () => {
  it.each([
    ['one packet', data],
    [
      'bytes whose base64 has no padding, where gpg 2.2 finds the end by nothing else',
      Buffer.from([0xd2, 1, 7]),
    ],
  ])('ends in the CRC-24 of %s', (_, bytes) => {
    const lines = armorPackets(readFraming(bytes).packets).toString().trimEnd().split('\n')
    expect(lines.at(-2)).toBe(`=${crcBySteps(bytes)}`)
  })
})

/** RFC 4880, 6.1, by polynomial division over the bits, with 24 zeros behind them. */
function crcBySteps(bytes: Uint8Array): string {
  const bits = [...bytes, 0, 0, 0].flatMap((byte) => byte.toString(2).padStart(8, '0').split('').map(Number))
  const start = (0xb704ce).toString(2).split('').map(Number)
  const register = bits.map((bit, at) => bit ^ (start[at] ?? 0))
  const polynomial = (0x1864cfb).toString(2).split('').map(Number)
  for (let at = 0; at + 24 < register.length; at++) {
    if (register[at] === 1) polynomial.forEach((bit, i) => (register[at + i] = (register[at + i] ?? 0) ^ bit))
  }
  const rest = register.slice(-24).join('')
  return Buffer.from((rest.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2))).toString('base64')
}
