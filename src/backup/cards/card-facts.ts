import { sha256Hex } from '../backups.ts'
import { recoveryKit } from '../shares/kit.ts'
import type { ShareSet } from '../shares/share-set.ts'
import type { CardFacts } from './card.ts'

/** What the public manifest lets a card say; nothing but the share without one. */
export async function cardFacts(
  set: ShareSet | undefined,
  how: { readonly index: number; readonly discreet: boolean },
): Promise<CardFacts> {
  const program = (await recoveryKit(set?.auditKeyFingerprint ?? 'unknown')).find(
    ({ name }) => name === 'recover.py',
  )
  const isNamed = set !== undefined && !how.discreet
  return {
    subject: isNamed ? `${set.name}@${set.version}` : undefined,
    custodian: isNamed ? set.shares.find(({ index }) => index === how.index)?.custodian : undefined,
    fingerprint: set?.fingerprint,
    dealt: set?.created,
    ceremony: set?.ceremony?.id,
    auditKeyFingerprint: set?.auditKeyFingerprint,
    programSha256: program && sha256Hex(program.bytes),
  }
}
