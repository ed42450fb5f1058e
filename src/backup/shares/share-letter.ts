import { letterTitle } from '../../core/share/share-lines.ts'
import { encodeCardLines, type Share } from '../../core/share/share-text.ts'

export type LetterFacts = {
  readonly name: string
  readonly version: number
  readonly fingerprint: string
  readonly created: string
  readonly custodian: string
  /** Id of the ceremony in which it was dealt. */
  readonly ceremony?: string | undefined
}

/**
 * The text that is encrypted to one custodian: self-describing, for a person who has gpg and has never seen kvx.
 * Built in one buffer of its own; the share is never in a string. The caller wipes it.
 */
export function encodeLetter(share: Share, facts: LetterFacts): Buffer {
  const before = Buffer.from(`${head(share, facts)}\n\n`)
  const after = Buffer.from(`\n${instructions(share)}`)
  const lines = encodeCardLines(share)
  const letter = Buffer.allocUnsafeSlow(before.length + lines.length + after.length)
  letter.set(before)
  letter.set(lines, before.length)
  letter.set(after, before.length + lines.length)
  lines.fill(0)
  return letter
}

function head(share: Share, facts: LetterFacts): string {
  return [
    letterTitle,
    ...(share.rehearsal === true ? [rehearsalLine] : []),
    `share: ${share.index} of ${share.of}; any ${share.threshold} of them rebuild the key`,
    `set: ${share.setId.toUpperCase()}`,
    `key: ${facts.name}`,
    `version: ${facts.version}`,
    `check-value: ${share.checkValue}`,
    `fingerprint: ${facts.fingerprint}`,
    `custodian: ${facts.custodian}`,
    `dealt: ${facts.created}`,
    ...(facts.ceremony === undefined ? [] : [`ceremony: ${facts.ceremony}`]),
  ].join('\n')
}

const rehearsalLine = 'REHEARSAL: this is for practice. No key is in it, and no program takes it for a share.'

function instructions(share: Share): string {
  const set = share.setId.toUpperCase()
  if (share.rehearsal === true) {
    return `${rehearsalLine}
Practise with it: gpg --decrypt THIS-FILE | kvx share verify --share-fd 0 --manifest ${set}.json
Then delete this message.
`
  }
  return `The four lines above are your share of a key. Alone it opens nothing; ${share.threshold} of ${share.of} together are the key.
Keep this message encrypted as it came, in two places. Nobody may ask you to send the four lines anywhere.

Once now, and once a year, prove that you still have it, alone, with no network:
  gpg --decrypt THIS-FILE | kvx share verify --share-fd 0 --manifest ${set}.json
and read out the receipt that it prints, nothing else. The receipt is no secret.

To rebuild the key, ${share.threshold} custodians bring their four lines to one trusted machine:
  kvx restore --from shares --manifest ${set}.json --out FILE
or, where there is no kvx, with the file recover.py that lies beside this message (Python 3, nothing else):
  python3 recover.py
`
}
