import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { makeSigner } from '../../../src/audit/signer.ts'
import { confirmShare, type ShareHome } from '../../../src/backup/shares/confirm-share.ts'
import { checkCustodians, type CheckedCustodian } from '../../../src/backup/shares/custodians.ts'
import { shareReceipt } from '../../../src/backup/shares/receipts.ts'
import type { StoredShareSet } from '../../../src/backup/shares/share-sets.ts'
import { splitToCustodians } from '../../../src/backup/shares/split.ts'
import { fingerprintOf } from '../../../src/core/fingerprint.ts'
import { splitShareTexts } from '../../../src/core/share/share-lines.ts'
import { decodeShare, type Share } from '../../../src/core/share/share-text.ts'
import { generateSigningKey, verify } from '../../../src/core/signature.ts'
import { Secret } from '../../../src/core/secret.ts'
import { GpgHome } from '../../support/gpg.ts'

export const people = ['A. Boole', 'C. Dirac', 'E. Fermi'] as const
export const machines = people.map(() => new GpgHome()) // one a custodian: nobody has another's private key
export const office = new GpgHome() // the operator's: public keys alone
export const signer = makeSigner(generateSigningKey())
export const key = randomBytes(32)
const material = Secret.copy(key)
export const fingerprint = fingerprintOf(material)
let custodians: readonly CheckedCustodian[] = []
let folder = ''
let directory = ''

/** Makes the keys of everybody once, and an empty home before each test. Call it at the top of a test file. */
export function useCustody(): void {
  beforeAll(async () => {
    const named = people.map((name, at) => {
      const machine = machines[at] ?? office
      const options = [{}, { algorithm: 'rsa3072' }, { algorithm: 'nistp256' }][at] ?? {}
      const openpgp = machine.makeKey(`${name} <${at}@example.org>`, options)
      office.import(machine.exportPublic(openpgp))
      return { name, openpgp }
    })
    custodians = (await checkCustodians(named, { gpgEnv: office.env })).checked
  })

  beforeEach(() => {
    if (folder !== '') rmSync(folder, { recursive: true, force: true })
    folder = mkdtempSync(join(tmpdir(), 'kvx-shares-'))
    chmodSync(folder, 0o700)
    directory = join(folder, 'backups')
  })

  afterAll(() => {
    for (const gpg of [...machines, office]) gpg.remove()
    rmSync(folder, { recursive: true, force: true })
  })
}

/** The home that the tests of this file share. */
export function shareHome(): ShareHome {
  return { directory, signer, verify: known }
}

export function allCustodians(): readonly CheckedCustodian[] {
  return custodians
}

export function known(bytes: Uint8Array, signature: Uint8Array, by: string): 'valid' | 'invalid' | 'unknown' {
  if (by !== signer.publicKeyFingerprint) return 'unknown'
  return verify(signer.publicKey, bytes, signature) ? 'valid' : 'invalid'
}

export async function split(to = custodians): Promise<StoredShareSet> {
  return splitToCustodians({
    name: 'master',
    version: 1,
    purpose: 'kek',
    material,
    threshold: 2,
    custodians: to,
    signer,
    directory,
    kvxVersion: '0.1.0',
  })
}

/** What a custodian reads out of the file with nothing but gpg. */
export function opened(
  stored: StoredShareSet,
  index: number,
): { readonly letter: Buffer; readonly share: Share } {
  const file = readFileSync(join(stored.folder, stored.set.shares[index - 1]?.file ?? ''))
  const letter = machines[index - 1]?.decrypt(file) ?? Buffer.alloc(0)
  const [text, ...more] = splitShareTexts(letter)
  if (text === undefined || more.length > 0) throw new Error('a letter holds one share')
  return { letter, share: decodeShare(text) }
}

export function receipt(stored: StoredShareSet, index: number, slot = 1): string {
  return shareReceipt(opened(stored, index).share, slot)
}

export async function confirm(stored: StoredShareSet, index: number, slot = 1): Promise<StoredShareSet> {
  const answer = { index, receipt: receipt(stored, index, slot), by: 'tester' }
  return confirmShare(shareHome(), stored.set.set, answer)
}
