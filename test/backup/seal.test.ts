import { randomBytes } from 'node:crypto'
import * as openpgp from 'openpgp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { armorPackets, readFraming, recipientKeyId } from '../../src/backup/packets.ts'
import { type Recipient, resolveRecipients } from '../../src/backup/recipients.ts'
import { checkSealed, encryptToRecipients } from '../../src/backup/seal.ts'
import { GpgHome } from '../support/gpg.ts'

const people = ['curve', 'rsa', 'nist', 'brain', 'modern'] as const
const homes = Object.fromEntries(people.map((name) => [name, new GpgHome()]))
const outsider = new GpgHome()
const secretText = randomBytes(500)
let recipients: readonly Recipient[] = []

/** A key whose preferences ask for SEIPDv2 with an AEAD, as newer programs make them. */
async function makeModernKey(home: GpgHome): Promise<void> {
  const { privateKey } = await openpgp.generateKey({
    userIDs: { name: 'modern', email: 'modern@example.org' },
    type: 'ecc',
    curve: 'curve25519Legacy',
    config: { aeadProtect: true, v6Keys: false },
  })
  home.import(privateKey)
}

beforeAll(async () => {
  homes['curve']?.makeKey('curve <curve@example.org>')
  const rsa = homes['rsa']?.makeKey('rsa <rsa@example.org>', { algorithm: 'ed25519', usage: 'sign' })
  homes['rsa']?.addSubkey(rsa ?? '', 'rsa4096')
  homes['nist']?.makeKey('nist <nist@example.org>', { algorithm: 'nistp256' })
  const brain = homes['brain']?.makeKey('brain <brain@example.org>', { algorithm: 'ed25519', usage: 'sign' })
  homes['brain']?.addSubkey(brain ?? '', 'brainpoolP256r1')
  await makeModernKey(homes['modern'] ?? outsider)
  const resolved = people.map(async (name) => {
    const home = homes[name] ?? outsider
    return (await resolveRecipients([home.fingerprint(name)], { gpgEnv: home.env })).recipients
  })
  recipients = (await Promise.all(resolved)).flat()
})

afterAll(() => {
  for (const home of [...Object.values(homes), outsider]) home.remove()
})

function only(name: string): readonly Recipient[] {
  return recipients.filter((recipient) => recipient.userId.startsWith(name))
}

describe('encryptToRecipients', () => {
  it.each(people)(
    'C29 makes a message that plain gpg opens for a %s key, alone and among others',
    async (name) => {
      for (const to of [only(name), recipients]) {
        const message = await encryptToRecipients(secretText, to)
        expect(homes[name]?.decrypt(message).equals(secretText)).toBe(true)
      }
    },
  )

  it('C30 writes one SEIPDv1 packet and session keys of version 3 also for a key that asks for SEIPDv2', async () => {
    const [modern] = only('modern')
    if (modern === undefined) throw new Error('no recipient')
    const key = await openpgp.readKey({ binaryKey: modern.publicKey })
    const usual = await openpgp.encrypt({
      message: await openpgp.createMessage({ binary: secretText }),
      encryptionKeys: key,
      format: 'binary',
      config: { aeadProtect: false },
    })
    expect(readFraming(usual).packets.map((packet) => [packet.tag, packet.body[0]])).toEqual([
      [1, 6],
      [18, 2],
    ]) // what gpg 2.2 does not open: the trap is real
    const message = await encryptToRecipients(secretText, [modern])
    expect(readFraming(message).packets.map((packet) => [packet.tag, packet.body[0]])).toEqual([
      [1, 3],
      [18, 1],
    ])
  })

  it('encrypts to the subkey that was checked, also when the key has a newer one', async () => {
    const home = new GpgHome()
    try {
      const fingerprint = home.makeKey('Two <two@example.org>', { at: '20200101T000000' })
      home.addSubkey(fingerprint, 'cv25519')
      const [, older = '', newer = ''] = home.fingerprints('two')
      const { recipients } = await resolveRecipients([fingerprint], { gpgEnv: home.env })
      expect(recipients.map(({ subkey }) => subkey)).toEqual([newer])
      const chosen = recipients.map((recipient) => ({ ...recipient, keyId: older.slice(-16) }))
      const message = await encryptToRecipients(secretText, chosen)
      expect(readFraming(message).packets.slice(0, 1).map(recipientKeyId)).toEqual([older.slice(-16)])
      expect(home.decrypt(message).equals(secretText)).toBe(true)
    } finally {
      home.remove()
    }
  })

  it('shows gpg exactly the chosen subkeys, AES-256 with MDC, no file name and no compression', async () => {
    const message = await encryptToRecipients(secretText, recipients)
    const listing = homes['curve']?.run(['--list-packets', '--show-session-key'], message).toString() ?? ''
    const keyIds = [...listing.matchAll(/^:pubkey enc packet: version 3, .* keyid ([0-9A-F]{16})/gm)].map(
      (match) => match[1],
    )
    expect(new Set(keyIds)).toEqual(new Set(recipients.map((recipient) => recipient.keyId)))
    expect(keyIds).toHaveLength(recipients.length)
    expect(listing).toMatch(/mdc_method: 2/)
    expect(listing).toMatch(/literal data packet:\n\tmode b .*name=""/)
    expect(listing).not.toContain('compressed packet')
    const session = homes['curve']?.run(['--decrypt', '--status-fd', '1'], message).toString('latin1') ?? ''
    expect(session).toContain('DECRYPTION_INFO 2 9 0')
  })

  it('gives every message a session key of its own, which opens nothing else', async () => {
    const sessions = [1, 2].map(async () => {
      const message = await encryptToRecipients(secretText, only('curve'))
      const text = homes['curve']
        ?.run(['--status-fd', '1', '--show-session-key', '--decrypt'], message)
        .toString('latin1')
      return /SESSION_KEY (9:[0-9A-F]{64})/.exec(text ?? '')?.[1]
    })
    const [one, two] = await Promise.all(sessions)
    expect(one).toMatch(/^9:[0-9A-F]{64}$/)
    expect(one).not.toMatch(/(..)\1{8}/)
    expect(one).not.toBe(two)
  })

  it('refuses no recipient, and a recipient whose key expired in the meantime', async () => {
    await expect(encryptToRecipients(secretText, [])).rejects.toMatchObject({ code: 'USAGE' })
    const fingerprint = outsider.makeKey('late <late@example.org>', { at: '20200101T000000', expire: '1y' })
    const late = {
      fingerprint,
      publicKey: outsider.run(['--export', fingerprint]),
      keyId: outsider.fingerprints('late')[1]?.slice(-16) ?? '',
    }
    await expect(encryptToRecipients(secretText, [late])).rejects.toMatchObject({
      code: 'RECIPIENT_UNUSABLE',
    })
    await expect(encryptToRecipients(secretText, [...recipients, late])).rejects.toMatchObject({
      code: 'RECIPIENT_UNUSABLE',
    })
  })
})

describe('checkSealed', () => {
  it('refuses every message that is not for exactly these subkeys, of these versions', async () => {
    const message = await encryptToRecipients(secretText, recipients)
    const { packets } = readFraming(message)
    const edited = (index: number, at: number, value: number): Buffer => {
      return armorPackets(
        packets.map((packet, i) => {
          if (i !== index) return packet
          const bytes = Buffer.from(packet.bytes)
          bytes[bytes.length - packet.body.length + at] = value
          return { ...packet, bytes }
        }),
      )
    }
    const last = packets.length - 1
    const wrong: [string, Uint8Array][] = [
      ['one recipient too few', armorPackets(packets.slice(1))],
      ['one recipient twice', armorPackets([...packets.slice(0, 1), ...packets])],
      ['no data', armorPackets(packets.slice(0, -1))],
      ['session key version 6', edited(0, 0, 6)],
      ['a hidden key id', edited(0, 1, 0)],
      ['SEIPD version 2', edited(last, 0, 2)],
      ['a packet behind', armorPackets([...packets, ...packets.slice(-1)])],
      ['no armor end', message.subarray(0, -10)],
    ]
    expect(() => checkSealed(message, recipients)).not.toThrow()
    expect(() => checkSealed(armorPackets(packets), recipients)).not.toThrow()
    for (const [name, bytes] of wrong) {
      expect(() => checkSealed(bytes, recipients), name).toThrow(/not one that gpg 2.2 opens/)
    }
  })
})
