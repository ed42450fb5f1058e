import { execFileSync } from 'node:child_process'
import { split } from 'shamir-secret-sharing'
import { receiptOf } from './document-site.ts'
import {
  answers,
  cardInMemory,
  foreignShares,
  fingerprintTail,
  holdKeyGeneration,
  ownShare,
  rehearse,
  shares,
} from './people.ts'
import type { Situation } from './situation.ts'

/** What custodians, recipients and the people of a ceremony type, each example at a site of its own. */

const letters = 'cp .kvx/backups/shares/*/KVXDEM* .'
/** Custodian $i reads the receipt out. */
const receipt = (set: string, more = ''): string =>
  `gpg --decrypt ${set}-share-$i.asc | kvx share verify --share-fd 0 --manifest ${set}.json ${more} --json | jq -r .data.receipt`
const confirmed = (set: string, indices: string, at = '.'): string =>
  `for i in ${indices}; do kvx backup confirm ${set} --index $i --receipt "$(cd ${at} && ${receipt(set)})" || exit; done`
const withoutKey = 'rm .kvx/keys/master.v1.key'
/** Custodians are dealt new shares, and prove them. */
const superseded = [
  'kvx backup reshare master --yes',
  `new=$(kvx backup list --json | jq -r '.data.shareSets[] | select(.state == "pending").set')`,
  confirmed('$new', '1 2 3', '.kvx/backups/shares/*.$new'),
].join(' && ')
/** There is no printer here. */
const printer = "mkdir bin && printf '#!/bin/sh\\ncat > printed.pdf\\n' > bin/lp && chmod +x bin/lp"

function ssss(key: Buffer): readonly string[] {
  const args = ['-t', '3', '-n', '5', '-x', '-Q']
  const shares = execFileSync('ssss-split', args, { input: `${key.toString('hex')}\n`, encoding: 'utf8' })
  return shares.trim().split('\n')
}

/** As Vault divides its root key. */
async function unsealKeys(key: Buffer): Promise<readonly string[]> {
  const points = await split(new Uint8Array(key), 5, 3)
  return points.map((point) => Buffer.from(point).toString('base64'))
}

export const sharedSituations: readonly Situation[] = [
  { lines: /backup confirm KVXDEM --index/, state: 'dealt' },
  {
    lines: /backup confirm KVXDEM --receipt-file/,
    state: 'dealt',
    before: `${letters} && i=2 && ${receipt('KVXDEM', '--receipt receipt.json --sign KEY')}`,
  },
  {
    lines: /backup confirm KVXDEM --accept-unconfirmed/,
    state: 'dealt',
    before: `${letters} && ${confirmed('KVXDEM', '1 2')}`,
  },
  { lines: /backup confirm KVXDEM --destroyed/, state: 'shared', before: superseded },
  {
    lines: /backup confirm B7K2M9$/,
    state: 'saved',
    people: answers(['Receipt, as', ({ site }) => receiptOf(site)]),
  },
  { lines: /backup drill master$/, state: 'shared', people: answers(...shares(1, 2)) },
  { lines: /recreate-share KVXDEM --index 2$/, state: 'shared', people: answers(...shares(1, 3)) },
  {
    lines: /recreate-share KVXDEM .*--openpgp/,
    state: 'shared',
    before: 'gpg --armor --export RECIPIENT > new.asc',
    people: answers(...shares(1, 3)),
  },
  {
    lines: /recreate-share master .*--card/,
    state: 'shared',
    people: answers(...shares(1, 3), ['screen is cleared', '']),
  },
  { lines: /backup reshare master/, state: 'shared' },
  {
    lines: /backup reshare .*--from shares/,
    state: 'shared',
    before: withoutKey,
    people: answers(['agree to this list', 'y'], ...shares(1, 2)),
  },
  { lines: /backup split master$/, state: 'appointed' },
  { lines: /backup split master@2/, state: 'rotated' },
  {
    lines: /backup split master .*--card-dir/,
    state: 'taken',
    people: cardInMemory,
  },
  { lines: /backup split master .*'E\. Fermi=/, state: 'taken' },
  {
    lines: /restore --from shares$/,
    state: 'shared',
    before: withoutKey,
    people: answers(...shares(2, 3), ['the last six characters', fingerprintTail]),
  },
  {
    lines: /restore --from shares .*--share-fd 3/,
    state: 'shared',
    before: `${letters} && for i in 1 3; do gpg --decrypt KVXDEM-share-$i.asc; done > /dev/shm/shares`,
  },
  {
    lines: /restore --from ssss/,
    state: 'taken',
    needs: ['ssss-split'],
    people: foreignShares(async ({ site }) => ssss(site.firstKey.bytes)),
  },
  {
    lines: /restore --from vault/,
    state: 'taken',
    people: foreignShares(async ({ site }) => unsealKeys(site.firstKey.bytes)),
  },
  { lines: /share print .*\| lp/, state: 'shared', before: `${letters} && ${printer}` },
  {
    lines: /share print --share-fd 3/,
    state: 'shared',
    before: letters,
    people: answers(['screen is cleared', '']),
  },
  { lines: /share print --discreet/, state: 'shared', people: ownShare },
  {
    lines: /share verify .*--sign KEY/,
    state: 'dealt',
    before: letters,
  },
  { lines: /\| kvx share verify/, state: 'shared', before: letters },
  {
    lines: /share verify .*--sign ~/,
    state: 'shared',
    before: `${letters} && mkdir .ssh && ssh-keygen -q -t ed25519 -N "" -f .ssh/id_ed25519`,
    people: ownShare,
  },
  // Without the manifest nothing says that the share is of this set.
  { lines: /share verify/, state: 'shared', people: ownShare, ends: 3 },
]

/** A machine without a network and without swap: namespaces of its own. */
const offline = `unshare --mount --net sh -c 'mount -t sysfs sysfs /sys && mount --bind /dev/null /proc/swaps && exec "$@"' sh LINE`

const signed =
  'for role in witness custodian-1 custodian-2 custodian-3; do kvx ceremony sign DIR --role $role --yes || exit; done'

export const ceremonySituations: readonly Situation[] = [
  { lines: /ceremony plan rotation/, state: 'appointed' },
  { lines: /ceremony plan/, state: 'planned', before: 'rm -r ceremony-*' },
  { lines: /ceremony run .*--rehearse/, state: 'planned', people: rehearse },
  { lines: /ceremony run .*--end/, state: 'stopped', people: answers(['Another file to keep', '']) },
  { lines: /ceremony run/, state: 'planned', people: holdKeyGeneration },
  { lines: /ceremony sign/, state: 'held' },
  {
    lines: /ceremony verify .*--expect-fingerprint/,
    state: 'held',
    before: `${signed} && kvx ceremony sign DIR --audit-key --yes`,
  },
  { lines: /ceremony verify/, state: 'held', before: signed },
  {
    lines: /ceremony preflight .*--require-offline/,
    state: 'taken',
    within: offline,
  },
]
