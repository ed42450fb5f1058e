import assert from 'node:assert/strict'
import { parseLine } from '../../src/audit/entry.ts'
import { encodeManifest, parseManifest } from '../../src/backup/manifest.ts'
import { encodeBackupText, parseBackupText } from '../../src/backup/plaintext.ts'
import { parseShareSet } from '../../src/backup/shares/share-set.ts'
import { parsePlan } from '../../src/ceremony/plan.ts'
import { parseConfig } from '../../src/config/config.ts'
import { canonicalJson } from '../../src/core/canonical-json.ts'
import { decodeKey, encodeKey } from '../../src/core/key-encoding.ts'
import { compileDerivation } from '../../src/core/layout/derivation.ts'
import { compileLayout } from '../../src/core/layout/layout.ts'
import { compileTemplate } from '../../src/core/layout/template.ts'
import { Secret } from '../../src/core/secret.ts'
import { checksumOf } from '../../src/core/share/bch.ts'
import { alphabet, valueOf } from '../../src/core/share/gf32.ts'
import { splitShareTexts } from '../../src/core/share/share-lines.ts'
import { decodeAnyShare, encodeShare } from '../../src/core/share/share-text.ts'
import { normaliseShare } from '../../src/core/share/typed-text.ts'
import { encodeKeyring, parseKeyring } from '../../src/keyring/keyring-file.ts'
import { readEntry } from '../../src/keyring/publish/manifest-entry.ts'
import { compileEnvelopes } from '../../src/migration/envelope/compile-envelope.ts'
import { parseVaultHeader, renderVaultHeader } from '../../src/vault/header.ts'
import { parseMembers } from '../../src/vault/members.ts'
import * as seeds from './seeds.ts'

/** A reader of what is not trusted, with what must hold where it reads: what was read is written back the same. */
export type Target = {
  readonly name: string
  /** Inputs that it reads. */
  readonly seeds: readonly Buffer[]
  /** Longer inputs show nothing new. */
  readonly most: number
  /** @throws KvxError for what is refused; anything else is a fault of kvx */
  readonly read: (bytes: Buffer) => void
  /** The end of the input that is secret: no part of it may stand in an error. */
  readonly secret?: (bytes: Buffer) => Buffer
  /** Puts a checksum right, without which a reader looks at nothing else. */
  readonly mend?: (bytes: Buffer) => Buffer
}

const share = Buffer.from(
  'KVX1QZYQKVXDEM2Z35V8T609T7QT2LR68ZRPQNC0MMR888NENLVEATCF42EFMGQEPXKT4XR2Y3Z7PM57WWSGQX7P',
)

/** The first line is a layout, the rest a value. */
function afterLayout(bytes: Buffer): Buffer {
  return bytes.includes(10) ? bytes.subarray(bytes.indexOf(10) + 1) : Buffer.alloc(0)
}

function all(bytes: Buffer): Buffer {
  return bytes
}

function readValue(bytes: Buffer): void {
  const value = new Uint8Array(afterLayout(bytes))
  const layout = compileLayout(bytes.toString('utf8', 0, bytes.length - value.length).trimEnd())
  const parts = layout.parse(value)
  assert.deepEqual(layout.render(parts), value, 'render(parse(value)) is another value')
  assert.deepEqual(new Set([...parts.keys()].filter((name) => !name.startsWith('#'))), layout.partNames)
  assert.ok(layout.hasPrefix(value), 'a value that is read does not begin as the layout does')
  if (layout.fixedLength !== undefined) assert.equal(value.length, layout.fixedLength)
}

function readShare(bytes: Buffer): void {
  const found = decodeAnyShare(bytes)
  const text = encodeShare(found)
  found.point.wipe()
  assert.deepEqual(text, new Uint8Array(normaliseShare(bytes)), 'the share is written as another text')
}

function withChecksum(bytes: Buffer): Buffer {
  const text = normaliseShare(bytes)
  const values = Uint8Array.from(text.subarray(4, 75), (code) => Math.max(0, valueOf(code)))
  if (values.length !== 71) return bytes
  const characters = [...values, ...checksumOf(values)].map((value) => alphabet[value] ?? 0)
  return Buffer.concat([Buffer.from('KVX1'), Buffer.from(characters)])
}

function readManifest(bytes: Buffer): void {
  const { manifest, signature = new Uint8Array(0) } = parseManifest(bytes, 'FILE')
  const signer = { publicKeyFingerprint: manifest.auditKeyFingerprint, sign: () => signature }
  const again = parseManifest(encodeManifest(manifest, signer), 'FILE')
  assert.deepEqual(again.manifest, manifest)
}

/** `algorithm` and `encoding` are words for people: what they say is in the key itself. */
function readBackupText(bytes: Buffer): void {
  const content = parseBackupText(bytes)
  const text = encodeBackupText(content).toString()
  content.material.wipe()
  const lines = text.slice(0, text.indexOf('\n\n')).split('\n')
  const given = bytes.toString().split('\n')
  for (const [at, line] of lines.entries())
    if (!/^(?:algorithm|encoding): /.test(line)) assert.equal(given[at], line)
}

const encodings = ['raw', 'hex', 'base64', 'base64url', 'ascii'] as const

/** The first byte says how the rest is encoded. */
function readKey(bytes: Buffer): void {
  const encoding = encodings[(bytes[0] ?? 0) % encodings.length] ?? 'raw'
  const { material, warnings } = decodeKey(bytes.subarray(1), encoding)
  const text = Buffer.from(encodeKey(material, encoding)).toString('latin1')
  material.wipe()
  const given = bytes.toString('latin1', 1).slice(0, text.length)
  if (warnings.length === 0) assert.equal(text.toLowerCase(), given.toLowerCase())
}

function readAuditLine(bytes: Buffer): void {
  const parsed = parseLine(bytes)
  if (parsed.ok) assert.deepEqual(new Uint8Array(canonicalJson(parsed.entry)), new Uint8Array(bytes))
}

function readKeyring(bytes: Buffer): void {
  const ring = parseKeyring('FILE', bytes)
  assert.deepEqual(parseKeyring('FILE', encodeKeyring(ring)), ring)
}

function readMembers(bytes: Buffer): void {
  for (const [name, { rawName, value }] of parseMembers(bytes)) {
    assert.equal(JSON.parse(rawName.toString()), name)
    JSON.parse(value.toString())
  }
}

function readVaultHeader(bytes: Buffer): void {
  const found = parseVaultHeader(bytes, 'FILE')
  assert.deepEqual(renderVaultHeader(found.header), found.bytes)
  assert.deepEqual(new Uint8Array(bytes.subarray(0, found.bytes.length)), new Uint8Array(found.bytes))
}

function readEach(read: (bytes: Buffer) => void): (bytes: Buffer) => void {
  return (bytes) => {
    for (const text of splitShareTexts(bytes)) read(Buffer.from(text))
  }
}

const wholeText = encodeBackupText({
  ...{ name: 'master', version: 1, purpose: 'kek', created: '2026-01-02T03:04:05Z' },
  material: Secret.take(new Uint8Array(32).map((_, at) => (at * 67) % 251)),
  receipt: '4QMX-7TKD-P2VJ-9RHC',
})

const backupText = wholeText.subarray(0, wholeText.indexOf('\n\n') + 2)

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function pair([layout, value]: readonly [string, Uint8Array]): Buffer {
  return Buffer.concat([Buffer.from(`${layout}\n`), value])
}

const inSecret = { path: 'FILE', name: 'app', namespace: undefined }

export const targets: readonly Target[] = [
  {
    name: 'kubernetes',
    seeds: seeds.secrets,
    most: 600,
    read: (bytes) => void readEntry(bytes, inSecret, 'KEK'),
    secret: all,
  },
  { name: 'plan', seeds: [seeds.plan], most: 1200, read: (bytes) => void parsePlan(bytes, 'FILE') },
  { name: 'layout', seeds: seeds.layouts, most: 400, read: (bytes) => void compileLayout(bytes.toString()) },
  {
    name: 'template',
    seeds: seeds.templates,
    most: 300,
    read: (bytes) => void compileTemplate(bytes.toString()),
  },
  {
    name: 'derivation',
    seeds: seeds.derivations,
    most: 300,
    read: (bytes) => void compileDerivation(bytes.toString()),
  },
  { name: 'value', seeds: seeds.values.map(pair), most: 500, read: readValue, secret: afterLayout },
  { name: 'share', seeds: [share], most: 300, read: readShare, secret: all, mend: withChecksum },
  { name: 'shares', seeds: [share], most: 1000, read: readEach(readShare), secret: all },
  {
    name: 'vault-header',
    seeds: [renderVaultHeader({ name: 'tk', fingerprint: 'ab'.repeat(8), generation: 7n })],
    most: 120,
    read: readVaultHeader,
  },
  {
    name: 'config',
    seeds: [seeds.policy, ...seeds.configurations],
    most: 2500,
    read: (bytes) => void compileEnvelopes(parseConfig('/kvx.yaml', bytes)),
  },
  { name: 'manifest', seeds: [json(seeds.manifest)], most: 3000, read: readManifest },
  {
    name: 'share-set',
    seeds: [json(seeds.shareSet)],
    most: 6000,
    read: (bytes) => void parseShareSet(bytes, 'FILE'),
  },
  { name: 'backup-text', seeds: [backupText], most: 2000, read: readBackupText, secret: all },
  {
    name: 'key',
    seeds: seeds.keys,
    most: 200,
    read: readKey,
    secret: (bytes) => bytes.subarray(1),
  },
  {
    name: 'members',
    seeds: [Buffer.from('{"a":{"b":[1,-2.5e3,"\\u00e9\\n",true,null]}}')],
    most: 400,
    read: readMembers,
    secret: all,
  },
  { name: 'keyring', seeds: [json(seeds.keyring)], most: 2000, read: readKeyring },
  { name: 'audit-line', seeds: [canonicalJson(seeds.entry)], most: 2000, read: readAuditLine },
]
