import { versionsOf } from '../keyring/keyring.ts'
import type { Evidence } from '../migration/evidence.ts'
import type { EvidenceSection } from './evidence-view.ts'

/** The numbers of PCI DSS 4.0.1, 3.6 and 3.7, with what kvx has to say beside each. The words are kvx's own. */
export function pciSection(evidence: Evidence): EvidenceSection {
  return {
    title: 'Beside the numbers of PCI DSS 3.6 and 3.7',
    level: 2,
    blocks: [
      'The middle column says in short what a number is about. The standard itself has the words that count.',
      {
        head: ['number', 'about', 'what kvx shows'],
        rows: [...guardedRows(evidence), ...lifeRows(evidence)],
      },
    ],
  }
}

type Row = readonly [number: string, about: string, shows: string]

/** 3.6: how keys are guarded where they lie. */
function guardedRows({ config, ring, backups, shareSets }: Evidence): readonly Row[] {
  const keys = Object.keys(ring.keys).length
  const envelopes = Object.values(config.envelopes)
  const ciphers = [...new Set(envelopes.flatMap(aeadsOf))].sort().join(', ')
  const places = Object.entries(config.keys).map(([name, { publish }]) => `${name} ${publish.length}`)
  const recipients = backups.flatMap(({ manifest }) => manifest.recipients)
  const openers = new Set(recipients.map(({ fingerprint }) => fingerprint))
  const custodians = new Set(shareSets.flatMap(({ set }) => set.shares.map(({ custodian }) => custodian)))
  const { approvals } = config.policy
  const rule =
    approvals === undefined
      ? 'no approvals are asked for'
      : `${approvals.required} approvals before ${approvals.for.join(', ')}`
  return [
    [
      '3.6.1',
      'keys are guarded by rules that are written down',
      `${rule}; every change stands in a signed log`,
    ],
    [
      '3.6.1.1',
      'service providers: what protects data, with which algorithms, keys and dates, is described',
      `envelopes in kvx.yaml: ${envelopes.length} (${ciphers || 'none'}); keys: ${keys}, in the inventory above`,
    ],
    [
      '3.6.1.2',
      'stored keys lie encrypted, in a device, or in parts',
      'backups are encrypted or in shares; the key files of the home lie in the clear, for their owner alone (0600): the disk under them should be encrypted',
    ],
    [
      '3.6.1.3',
      'as few people as possible reach keys in the clear',
      `OpenPGP keys that open backups: ${openers.size}; custodians of shares: ${custodians.size}; who is root on the machine reaches keys too`,
    ],
    [
      '3.6.1.4',
      'keys lie in as few places as possible',
      `the home, and published places by key: ${places.join(', ') || 'none'}`,
    ],
  ]
}

/** 3.7: how keys are made, handed out, changed and ended. */
function lifeRows({ config, ring, shareSets, status }: Evidence): readonly Row[] {
  const keys = Object.entries(ring.keys)
  const versions = keys.flatMap(([, key]) => versionsOf(key).map(([, record]) => record))
  const made = versions.filter(({ origin }) => origin === 'generated').length
  const periods = keys.filter(([name]) => config.keys[name]?.cryptoperiod?.seal !== undefined).length
  const over = status.due.filter(({ code }) => code.startsWith('CRYPTOPERIOD')).length
  const known = versions.filter(({ state }) => state === 'compromised').length
  const active = shareSets.filter(({ set }) => set.state === 'active').length
  const { approvals } = config.policy
  const dual =
    approvals === undefined
      ? 'no policy asks for approvals'
      : `approvals: ${approvals.required} of ${approvals.approvers.length} people`
  return [
    [
      '3.7.1',
      'strong keys are made',
      `made by kvx from the random generator of the system: ${made} of ${versions.length} versions; the others were taken over`,
    ],
    [
      '3.7.2',
      'keys are handed out safely',
      'published files are written for their declared readers alone and read back; shares are encrypted to one custodian each',
    ],
    [
      '3.7.3',
      'keys are stored safely',
      'home 0700, files 0600, owner checked at each start; keys never in arguments, environment or logs',
    ],
    [
      '3.7.4',
      'keys change at the end of their cryptoperiod',
      `keys with a cryptoperiod: ${periods} of ${keys.length}; over: ${over}`,
    ],
    [
      '3.7.5',
      'keys that are weak, known or no longer needed are replaced, retired or destroyed',
      `versions marked as compromised: ${known}; retirements and destructions are listed above`,
    ],
    ['3.7.6', 'no single person handles a key in the clear', `active share sets: ${active}; ${dual}`],
    [
      '3.7.7',
      'nobody puts another key in the place of one',
      'each version has a fingerprint and a sealed known text, compared whenever it is read; published places are compared by `kvx status`',
    ],
    [
      '3.7.8',
      'custodians acknowledge their duty',
      'custodians read back a receipt of their share; a signed statement of theirs is kept outside kvx',
    ],
    ['3.7.9', 'service providers: customers are told how to handle their keys', 'outside kvx'],
  ]
}

/** `aes-256-gcm` and its like of one envelope, however it is written. */
function aeadsOf(envelope: object): readonly string[] {
  const found = JSON.stringify(envelope).matchAll(/"aead":"([a-z0-9-]+)"/g)
  return [...found].map(([, name = '']) => name)
}
