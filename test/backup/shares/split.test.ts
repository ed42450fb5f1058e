import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { listBackups } from '../../../src/backup/backups.ts'
import { readFraming, recipientKeyId } from '../../../src/backup/packets.ts'
import { checkCustodians, parseCustodian, requirePlan } from '../../../src/backup/shares/custodians.ts'
import { requireDealt } from '../../../src/backup/shares/examine.ts'
import { RestoreSession } from '../../../src/backup/shares/restore-session.ts'
import { activeShareSets, findShareSet, listShareSets } from '../../../src/backup/shares/share-sets.ts'
import { shareDigest } from '../../../src/core/share/share-text.ts'
import { deal, errorOf, forged, longestLeak, rejectionOf, textOf } from '../../core/share/fixture.ts'
import {
  allCustodians,
  fingerprint,
  key,
  machines,
  office,
  opened,
  shareHome,
  split,
  useCustody,
} from './custody.ts'

useCustody()

describe('splitting to custodians', () => {
  it('C16 writes one file a custodian, to exactly one key and the right subkey, which plain gpg opens', async () => {
    const stored = await split()
    expect(stored.set).toMatchObject({
      state: 'pending',
      threshold: 2,
      of: 3,
      fingerprint,
      name: 'master',
      version: 1,
    })
    for (const [at, dealt] of stored.set.shares.entries()) {
      const sealed = readFileSync(join(stored.folder, dealt.file ?? ''))
      const sessionKeys = readFraming(sealed).packets.slice(0, -1)
      expect(sessionKeys.map(recipientKeyId)).toEqual([allCustodians()[at]?.recipient?.keyId])
      const { share } = opened(stored, at + 1)
      expect(share.index).toBe(at + 1)
      expect(shareDigest(share)).toBe(dealt.digest)
      for (const [other, machine] of machines.entries())
        if (other !== at) expect(() => machine.decrypt(sealed)).toThrow()
    }
  })

  it('C16 gives shares of which every two rebuild the key', async () => {
    const stored = await split()
    for (const pair of [
      [1, 2],
      [2, 3],
      [3, 1],
    ]) {
      const session = new RestoreSession(stored.set)
      for (const index of pair) session.add(opened(stored, index).share)
      const rebuilt = await session.rebuild(fingerprint)
      expect(rebuilt.material.lend((bytes) => bytes.equals(key))).toBe(true)
    }
  })

  it('C17 puts one share into each file, and says in it what to do with gpg and Python alone', async () => {
    const stored = await split()
    const { letter } = opened(stored, 2)
    expect(letter.toString().match(/KVX1/g)).toHaveLength(1)
    for (const part of [
      'share: 2 of 3; any 2',
      'custodian: C. Dirac',
      fingerprint,
      'recover.py',
      'kvx share verify',
    ]) {
      expect(letter.toString()).toContain(part)
    }
  })

  it('C15 leaves no secret in the folder: not the key, not a share, not 8 characters of one', async () => {
    const stored = await split()
    const names = readdirSync(stored.folder).sort()
    const set = stored.set.set.toUpperCase()
    expect(names).toEqual(
      [
        `${set}-share-1.asc`,
        `${set}-share-2.asc`,
        `${set}-share-3.asc`,
        `${set}.json`,
        'FORMAT.txt',
        'README.txt',
        'recover.html',
        'recover.py',
      ].sort(),
    )
    const shares = [1, 2, 3].map((index) => textOf(opened(stored, index).share))
    for (const name of names) {
      const bytes = readFileSync(join(stored.folder, name))
      expect(statSync(join(stored.folder, name)).mode & 0o777).toBe(0o600)
      expect(bytes.includes(key)).toBe(false)
      expect(bytes.includes(key.toString('base64').slice(0, 16))).toBe(false)
      expect(bytes.toString('latin1').toLowerCase()).not.toContain(key.toString('hex').slice(0, 16))
      // The head of a share names set and check value, which are public; behind it 66 characters are the secret.
      for (const share of shares)
        expect(longestLeak(bytes.toString('latin1'), share.slice(22))).toBeLessThan(8)
    }
  })

  it('names custodians without an OpenPGP key, and refuses two shares for one hand', async () => {
    const some = [
      parseCustodian(`A=${'0'.repeat(40)}`),
      parseCustodian('B. Bare'),
      parseCustodian('C. Cold='),
    ]
    const error = await rejectionOf(checkCustodians(some, { gpgEnv: office.env }))
    expect(error.exit).toBe(2)
    expect(error.message).toContain('B. Bare, C. Cold')
    const twice = [parseCustodian('A=AAAA'), parseCustodian('B=AAAA')]
    expect(errorOf(() => requirePlan({ threshold: 2, of: 2, custodians: twice })).message).toContain(
      'named twice',
    )
    expect(errorOf(() => requirePlan({ threshold: 2, of: 3, custodians: twice })).message).toContain('need 3')
    expect(errorOf(() => requirePlan({ threshold: 3, of: 2, custodians: twice })).code).toBe('USAGE')
  })

  it('leaves nothing, not even the folder, when a key can no longer be encrypted to', async () => {
    const late = office.makeKey('late <late@example.org>', { at: '20200101T000000', expire: '1y' })
    const keyId = office.fingerprints('late')[1]?.slice(-16) ?? ''
    const [first] = allCustodians()
    if (first?.recipient === undefined) throw new Error('no custodian')
    const publicKey = new Uint8Array(office.run(['--export', late]))
    const recipient = { ...first.recipient, fingerprint: late, publicKey, keyId }
    const broken = { name: 'Late', recipient, byHand: false }
    const error = await rejectionOf(split([...allCustodians(), broken]))
    expect(error.code).toBe('RECIPIENT_UNUSABLE')
    expect(await listShareSets(shareHome().directory)).toEqual({ sets: [], problems: [] })
    expect(readdirSync(join(shareHome().directory, 'shares'))).toEqual([])
    expect(await activeShareSets(shareHome().directory, 'master', 1)).toEqual([])
  })

  it('lies beside OpenPGP backups without being taken for one', async () => {
    const { set } = await split()
    expect(await listBackups(shareHome().directory)).toEqual({ backups: [], problems: [] })
    expect((await findShareSet(shareHome().directory, set.set.toUpperCase()))?.set).toEqual(set)
    expect(await findShareSet(shareHome().directory, 'zzzzzz')).toBeUndefined()
  })
})

describe('a restore session', () => {
  it('names a share of another set, one given twice and one that was not dealt, the moment it is entered', async () => {
    const stored = await split()
    const other = await split()
    const session = new RestoreSession(stored.set)
    expect(session.status()).toBe('have none; need 2 more of 1, 2, 3')
    session.add(opened(stored, 3).share)
    expect(session.status()).toBe('have 3; need 1 more of 1, 2')
    expect(session.missingCustodians()).toEqual(['1 A. Boole', '2 C. Dirac'])
    const bad = forged(opened(stored, 2).share, (point) => point.set([1, 2, 3], 4))
    for (const [share, reason] of [
      [opened(other, 1).share, 'set'],
      [opened(stored, 3).share, 'twice'],
      [bad, 'digest'],
    ] as const) {
      const error = errorOf(() => session.add(share))
      expect(error.details).toEqual({ reason, index: share.index })
      expect(error.message).toContain(`share ${share.index}`)
      expect(() => share.point.lend(() => undefined)).toThrow('wiped')
    }
    expect(session.isEnough).toBe(false)
    expect((await rejectionOf(session.rebuild(fingerprint))).exit).toBe(7)
    session.add(opened(stored, 1).share)
    const rebuilt = await session.rebuild(fingerprint)
    expect(rebuilt.material.lend((bytes) => bytes.equals(key))).toBe(true)
    session.wipe()
  })

  it('takes the manifest of the set that the first share names, where the home knows it', async () => {
    const stored = await split()
    const session = new RestoreSession(undefined, [(await split()).set, stored.set])
    session.add(opened(stored, 1).share)
    expect(session.set).toEqual(stored.set)
    const strange = new RestoreSession(undefined, [stored.set])
    const { shares } = await deal(2, 3)
    const [first] = shares
    if (first === undefined) throw new Error('no share')
    strange.add(first)
    expect(strange.set).toBeUndefined()
  })

  it('C21 tells a share of another set from one that was dealt', async () => {
    const [one, other] = [await split(), await split()]
    expect(requireDealt(opened(one, 2).share, one.set).custodian).toBe('C. Dirac')
    expect(errorOf(() => requireDealt(opened(other, 2).share, one.set)).details).toEqual({
      reason: 'set',
      index: 2,
    })
  })
})
