import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as openpgp from 'openpgp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { resolveRecipients } from '../../src/backup/recipients.ts'
import { isKvxError } from '../../src/core/errors.ts'
import { GpgHome } from '../support/gpg.ts'

const gpg = new GpgHome()
const folder = mkdtempSync(join(tmpdir(), 'kvx-recipients-'))

beforeAll(() => {
  gpg.makeKey('Curve <curve@example.org>', { expire: '3y' })
  gpg.makeKey('Rsa <rsa@example.org>', { algorithm: 'rsa3072' })
  const nist = gpg.makeKey('Nist <nist@example.org>', { algorithm: 'nistp256', usage: 'sign' })
  gpg.addSubkey(nist, 'nistp256', { expire: '100d' })
  const brainpool = gpg.makeKey('Brain <brain@example.org>', { algorithm: 'ed25519', usage: 'sign' })
  gpg.makeKey('Pool <pool@example.org>', { algorithm: 'brainpoolP256r1' })
  gpg.addSubkey(brainpool, 'brainpoolP384r1')
  gpg.makeKey('Expired <expired@example.org>', { at: '20200101T000000', expire: '1y' })
  gpg.makeKey('Future <future@example.org>', { at: '20450101T000000' })
  gpg.revoke(gpg.makeKey('Revoked <revoked@example.org>'))
  gpg.makeKey('Signer <signer@example.org>', { algorithm: 'ed25519', usage: 'sign' })
  gpg.makeKey('Weak <weak@example.org>', { algorithm: 'rsa1024' })
  gpg.makeKey('Short <short@example.org>', { algorithm: 'rsa2048' })
  const weakPrimary = gpg.makeKey('Frail <frail@example.org>', { algorithm: 'rsa1024', usage: 'sign' })
  gpg.addSubkey(weakPrimary, 'rsa3072')
  const koblitz = gpg.makeKey('Koblitz <koblitz@example.org>', { algorithm: 'ed25519', usage: 'sign' })
  gpg.addSubkey(koblitz, 'secp256k1')
  gpg.makeKey('\u001B[31mRed\u202E <ansi@example.org>')
})

afterAll(() => {
  gpg.remove()
  rmSync(folder, { recursive: true, force: true })
})

async function refusal(fingerprints: readonly string[], keyFiles: readonly string[] = []): Promise<string> {
  const error = await resolveRecipients(fingerprints, { gpgEnv: gpg.env, keyFiles }).then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (!isKvxError(error, 'RECIPIENT_UNUSABLE')) throw new Error('it was not refused', { cause: error })
  expect(error.exit).toBe(2)
  return error.message
}

function fileWith(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

describe('resolveRecipients', () => {
  it('finds keys of the usual kinds with the subkey that is encrypted to and the days that are left', async () => {
    const users = ['curve', 'rsa', 'nist', 'brain']
    const fingerprints = users.map((user) => gpg.fingerprint(`${user}@example.org`))
    const { recipients } = await resolveRecipients(fingerprints, { gpgEnv: gpg.env })
    expect(recipients.map((recipient) => [recipient.fingerprint, recipient.subkey])).toEqual([
      gpg.fingerprints('curve@example.org'),
      gpg.fingerprints('rsa@example.org'),
      gpg.fingerprints('nist@example.org'),
      gpg.fingerprints('brain@example.org'),
    ])
    expect(recipients.map((recipient) => recipient.algorithm)).toEqual([
      'ecdh curve25519Legacy',
      'rsaEncryptSign 3072',
      'ecdh nistP256',
      'ecdh brainpoolP384r1',
    ])
    expect(recipients.map((recipient) => recipient.keyId)).toEqual(
      recipients.map(({ subkey }) => subkey.slice(-16)),
    )
    expect(recipients[0]?.userId).toBe('Curve <curve@example.org>')
    expect(recipients[0]?.daysLeft).toBeGreaterThan(1090)
    expect(recipients[1]).toMatchObject({ expires: null, daysLeft: null })
    expect(recipients[2]?.expires).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  })

  it('C35 warns of a key that expires within a year, by name and with the days', async () => {
    const fingerprints = ['curve', 'rsa', 'nist'].map((user) => gpg.fingerprint(`${user}@example.org`))
    const { warnings } = await resolveRecipients(fingerprints, { gpgEnv: gpg.env })
    expect(warnings.map((warning) => warning.code)).toEqual(['RECIPIENT_EXPIRES'])
    expect(warnings[0]?.message).toMatch(/Nist <nist@example.org>.* expires in (99|100) days/)
  })

  it.each([
    ['expired', 'Expired <expired@example.org>', /it expired on (2020-12-31|2021-01-0\d)/],
    ['future', 'Future <future@example.org>', /made in the future \(2045-01-01\)/],
    ['revoked', 'Revoked <revoked@example.org>', /it is revoked/],
    ['signer', 'Signer <signer@example.org>', /it only signs/],
    ['weak', 'Weak <weak@example.org>', /RSA of 1024 bits is too weak/],
    ['short', 'Short <short@example.org>', /RSA of 2048 bits is too weak; 3072 are needed/],
    ['frail', 'Frail <frail@example.org>', /RSA of 1024 bits is too weak/],
    ['pool', 'Pool <pool@example.org>', /cannot check signatures of a brainpoolP256r1 primary key/],
    ['koblitz', 'Koblitz <koblitz@example.org>', /secp256k1/],
  ])('C31 refuses the %s key by name, also among good ones', async (user, name, why) => {
    const bad = gpg.fingerprint(`${user}@example.org`)
    for (const fingerprints of [[bad], [gpg.fingerprint('curve@example.org'), bad]]) {
      const message = await refusal(fingerprints)
      expect(message).toContain(bad)
      expect(message).toContain(name)
      expect(message).toMatch(why)
    }
  })

  it('C31 refuses a subkey that expired or was revoked, although the key itself is good', async () => {
    const past = { at: '20200101T000000' }
    const fingerprint = gpg.makeKey('Old sub <oldsub@example.org>', {
      algorithm: 'ed25519',
      usage: 'sign',
      ...past,
    })
    gpg.addSubkey(fingerprint, 'cv25519', { expire: '1y', ...past })
    expect(await refusal([fingerprint])).toMatch(/its encryption subkey expired on/)
    const { privateKey } = await openpgp.generateKey({
      userIDs: { name: 'Revoked sub', email: 'revsub@example.org' },
      type: 'ecc',
      curve: 'curve25519Legacy',
      format: 'object',
    })
    const [subkey] = privateKey.subkeys
    if (subkey === undefined || !(privateKey.keyPacket instanceof openpgp.SecretKeyPacket))
      throw new Error('no subkey')
    privateKey.subkeys = [await subkey.revoke(privateKey.keyPacket)]
    gpg.import(privateKey.toPublic().armor())
    expect(await refusal([gpg.fingerprint('revsub@example.org')])).toMatch(/its encryption subkey is revoked/)
  })

  it('C31 refuses version 6 keys and the new X25519, which gpg 2.2 cannot use', async () => {
    const six = await openpgp.generateKey({
      userIDs: { name: 'Six' },
      format: 'object',
      config: { v6Keys: true },
    })
    const fingerprint = six.publicKey.getFingerprint()
    expect(fingerprint).toHaveLength(64)
    expect(await refusal([fingerprint], [fileWith('six.asc', six.publicKey.armor())])).toMatch(
      /version 5 or 6/,
    )
    const modern = await openpgp.generateKey({
      userIDs: { name: 'Modern' },
      type: 'curve25519',
      format: 'object',
    })
    const file = fileWith('modern.asc', modern.publicKey.armor())
    expect(await refusal([modern.publicKey.getFingerprint()], [file])).toMatch(/Modern.*x25519 subkey/)
  })

  it('takes keys from files, armored or binary, several in one', async () => {
    const [curve, rsa] = ['curve', 'rsa'].map((user) => gpg.fingerprint(`${user}@example.org`))
    const both = Buffer.concat([gpg.exportPublic(curve ?? ''), gpg.exportPublic(rsa ?? '')])
    const none = new GpgHome()
    try {
      for (const content of [
        both,
        gpg.run(['--armor', '--export', 'curve', 'rsa']),
        gpg.run(['--export', 'curve', 'rsa']),
      ]) {
        const keyFiles = [fileWith('keys', content)]
        const found = await resolveRecipients([curve ?? '', rsa ?? ''], { gpgEnv: none.env, keyFiles })
        expect(found.recipients.map((recipient) => recipient.fingerprint)).toEqual([curve, rsa])
      }
    } finally {
      none.remove()
    }
  })

  it('takes a fingerprint in any case and with spaces, and the same one once', async () => {
    const fingerprint = gpg.fingerprint('curve@example.org')
    const spaced = (fingerprint.toLowerCase().match(/.{4}/g) ?? []).join(' ')
    const { recipients } = await resolveRecipients([fingerprint, spaced, `0x${fingerprint}`], {
      gpgEnv: gpg.env,
    })
    expect(recipients.map((recipient) => recipient.fingerprint)).toEqual([fingerprint])
  })

  it('refuses short ids, names, unknown keys and the fingerprint of a subkey', async () => {
    const [primary = '', subkey = ''] = gpg.fingerprints('curve@example.org')
    expect(await refusal([primary.slice(-16)])).toMatch(/not a full fingerprint of 40 hex digits/)
    expect(await refusal(['curve@example.org'])).toMatch(/not a full fingerprint/)
    expect(await refusal(['--output=/etc/passwd'])).toMatch(/not a full fingerprint/)
    expect(await refusal(['F'.repeat(40)])).toMatch(/no such key is in the keyring/)
    expect(await refusal([subkey])).toContain(`it is a subkey; the key's own fingerprint is ${primary}`)
    await expect(resolveRecipients([], { gpgEnv: gpg.env })).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('refuses files that hold no public key, or a private one', async () => {
    const fingerprint = gpg.fingerprint('curve@example.org')
    const secret = gpg.run([
      '--pinentry-mode',
      'loopback',
      '--passphrase',
      '',
      '--export-secret-keys',
      fingerprint,
    ])
    expect(await refusal([fingerprint], [fileWith('secret', secret)])).toMatch(/holds a private key/)
    expect(await refusal([fingerprint], [fileWith('text', 'hello')])).toMatch(/no OpenPGP public key/)
    expect(await refusal([fingerprint], [fileWith('none', '')])).toMatch(/no OpenPGP public key/)
  })

  it('shows a user id without the signs that a terminal obeys', async () => {
    const { recipients } = await resolveRecipients([gpg.fingerprint('ansi@example.org')], { gpgEnv: gpg.env })
    expect(recipients[0]?.userId).toBe('\\u{1b}[31mRed\\u{202e} <ansi@example.org>')
  })
})
