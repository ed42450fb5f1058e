import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What each target begins with: inputs that are read. */

const profiles = join(import.meta.dirname, '../../templates/profiles')
const reference = readFileSync(join(import.meta.dirname, '../../docs/layouts.md'), 'utf8')

export const configurations: readonly Buffer[] = readdirSync(profiles).map((name) => {
  const text = readFileSync(join(profiles, name), 'utf8')
  return Buffer.from(text.replaceAll(/^ *#.*\n| +#.*$/gm, '').replaceAll(/^\n/gm, ''))
})

export const policy = Buffer.from(`kvx: 1
home-backup: ./copy
keys:
  master:
    purpose: kek
    cryptoperiod: { seal: 90d, open: 2y, values: 1000 }
    backup: { recipients: ['${'AB'.repeat(20)}'] }
    publish: [{ file: keys/app.key, previous: keys/app.key.previous, encoding: raw }]
  tk: { purpose: vault, publish: [{ file: keys/tk.key }] }
stores: { docs: { directory: data, match: "*.doc", format: json } }
vaults: { tk: { directory: vaults, key: tk } }
envelopes:
  docs.files: { store: docs, key: master, value: { column: value, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" } }
policy: { backups: 1, drill: 90d }
`)

/** The tables of the reference with these headings: the code of the first column, and the bytes of the second. */
function examples(first: string, second: string): readonly (readonly [code: string, bytes: Buffer])[] {
  const tables = reference.split(`| ${first} | ${second} |\n|---|---|\n`).slice(1)
  return tables.flatMap((table) =>
    [...(table.split('\n\n')[0] ?? '').matchAll(/^\| `(.+)` \| (.+) \|$/gm)].map(
      ([, code = '', value = '']) => {
        const text = value.replaceAll('`', '')
        const bytes = text.startsWith('0x') ? Buffer.from(text.slice(2), 'hex') : Buffer.from(text)
        return [code.replaceAll('\\|', '|'), bytes] as const
      },
    ),
  )
}

/** Layouts, each with a value that it reads. */
export const values = examples('layout', 'takes the value')
export const layouts = codes(values)
export const templates = codes(examples('template', 'gives'))
export const derivations = codes(examples('derivation', 'gives'))

function codes(some: readonly (readonly [code: string, bytes: Buffer])[]): readonly Buffer[] {
  return some.map(([code]) => Buffer.from(code))
}

export const manifest = {
  schema: 'kvx.backup.manifest/1',
  id: '7K3M9QZ2',
  name: 'master',
  version: 2,
  purpose: 'kek',
  fingerprint: 'ab'.repeat(32),
  checkValue: 'ABABABABAB',
  created: '2026-01-02T03:04:05Z',
  file: 'master.v2.7K3M9QZ2.asc',
  sha256: 'cd'.repeat(32),
  recipients: [{ fingerprint: 'A'.repeat(40), userId: 'Äli <a@b>', subkey: 'B'.repeat(40), expires: null }],
  receiptSha256: 'ef'.repeat(32),
  state: 'tested',
  testedAt: '2026-01-02T03:04:06Z',
  testedWith: ['B'.repeat(40)],
  confirmedAt: null,
  confirmedBy: null,
  kvxVersion: '1.0.0',
  auditKeyFingerprint: '12'.repeat(32),
  signature: Buffer.alloc(64, 1).toString('base64'),
}

const dealt = (index: number) => ({
  index,
  custodian: `person ${index}`,
  openpgp: 'A'.repeat(40),
  subkey: 'B'.repeat(40),
  expires: null,
  digest: index.toString(16).repeat(64),
  file: `share-${index}.asc`,
  sha256: 'cd'.repeat(32),
  receipts: Array.from({ length: 8 }, () => 'ef'.repeat(32)),
  confirmations: [{ at: '2026-01-02T03:04:06Z', by: 'person', slot: 1 }],
})

export const shareSet = {
  schema: 'kvx.share-set/1',
  set: 'kvxdem',
  name: 'master',
  version: 1,
  purpose: 'kek',
  fingerprint: 'ab'.repeat(32),
  checkValue: 'ABABABABAB',
  threshold: 2,
  of: 3,
  created: '2026-01-02T03:04:05Z',
  state: 'active',
  activated: '2026-01-02T03:04:05Z',
  supersedes: [],
  shares: [dealt(1), dealt(2), dealt(3)],
  accepted: null,
  kvxVersion: '1.0.0',
  auditPublicKey:
    '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n',
  auditKeyFingerprint: '12'.repeat(32),
  signature: Buffer.alloc(64, 1).toString('base64'),
}

const material = Buffer.from(Array.from({ length: 32 }, (_, at) => (at * 67 + 131) % 251))

/** The first byte says which encoding. */
export const keys: readonly Buffer[] = [
  material,
  Buffer.from(material.toString('hex')),
  Buffer.from(material.toString('base64')),
  Buffer.from(material.toString('base64url')),
  Buffer.from('correct horse battery staple, 32'),
].map((text, at) => Buffer.concat([Buffer.of(at), text]))

const version = {
  state: 'active',
  fingerprint: 'ab'.repeat(32),
  bytes: 32,
  origin: 'import',
  created: '2026-01-02T03:04:05Z',
  run: null,
  canary: 'AAAA',
  rollout: { how: 'import', at: '2026-01-02T03:04:05Z', actor: 'root' },
  retired: null,
  destruction: null,
  withoutBackup: null,
  history: [
    { at: '2026-01-02T03:04:05Z', from: 'pre-activation', to: 'active', actor: 'root', reason: 'imported' },
  ],
}

export const keyring = {
  schema: 'kvx.keyring/1',
  generation: 3,
  keys: {
    master: { purpose: 'kek', next: 2, seals: 1, previous: null, staged: null, versions: { 1: version } },
  },
}

export const entry = {
  seq: 2,
  at: '2026-01-02T03:04:05Z',
  actor: 'root',
  action: 'key.import',
  phase: 'result',
  subject: 'master@1',
  data: { outcome: 'done', intent: 1, names: ['a', 'b'], empty: false },
  exit: 0,
  prev: 'ab'.repeat(32),
  key: 'cd'.repeat(8),
  sig: Buffer.alloc(64, 3).toString('base64'),
}

const secret = (data: string): Buffer =>
  Buffer.from(`apiVersion: v1\nkind: Secret\nmetadata: { name: app }\n${data}`)

export const secrets: readonly Buffer[] = [
  secret(`type: Opaque\ndata:\n  KEK: ${material.toString('base64')}\n  OTHER: eHl6enk=\n`),
  secret(`stringData:\n  KEK: |-\n    ${material.toString('base64')}\n---\nkind: ConfigMap\n`),
]

export const plan = Buffer.from(`schema: kvx.ceremony-plan/1
kind: recovery
title: A recovery
id: 20260102T030405Z-abc123
nonce: '0123456789abcdef'
created: 2026-01-02T03:04:05Z
kvx: { version: 1.0.0, sha256: ${'ab'.repeat(32)} }
key: master
roles: [{ role: leader, duty: leads, name: A. Boole, openpgp: null }]
steps:
  - { title: Begin, role: leader, text: Say the nonce., run: [kvx, status], expect: ok, ask: { seal: Which number } }
`)
