import type { CipherOptions } from '../../../src/core/cipher/cipher.ts'
import { objectOf, textOf, type Json, type JsonObject } from './vector-reader.ts'

// How an operator declares each level of each vector: nothing but configuration.

export type Declared = {
  readonly file: string
  readonly case?: number
  readonly level: 'wrap' | 'data'
  /** A layout for each column, by path. */
  readonly columns: Readonly<Record<string, string>>
  /** Before the names of its parts, where a wrapped key lies in its value's layout. */
  readonly prefix?: 'dek.'
  readonly cipher?: string
  readonly options?: CipherOptions
  readonly derive?: string
  /** The nonce where it is not stored but made from the key and a new salt. */
  readonly nonce?: string
  readonly aad?: string
  /** Of a legacy cipher. */
  readonly test?: string
  /** How the data key lies in what the wrap holds, where that is not the key itself. */
  readonly dekLayout?: string
  /** Columns that the template uses and the row has in another place. */
  readonly cells?: (row: JsonObject) => JsonObject
  /** What the application did to a plaintext before it sealed it. */
  readonly packed?: 'deflated' | 'php'
}

const gcm = 'nonce:12 ct tag:16'
const blobMembers = (row: JsonObject): JsonObject => objectOf(JSON.parse(textOf(row['blob'])) as Json)
const blobAad =
  'json({"algorithm": {algorithm}, "content_hash": {content_hash}, "key_reference": {key_reference}, ' +
  '"media_type": {media_type}, "plaintext_length": {plaintext_length}, "tenant_id": {tenant_id}, "version": {version}})'

const bundle = (prefix: string): string =>
  `base64urlpad(0x80 u64be(${prefix}time) ${prefix}nonce:16 ${prefix}ct ${prefix}mac:32)`
const agenticos = `json({"v": 1, "k": ${bundle('dek.')}, "p": ${bundle('')}})`
const laravel: Pick<Declared, 'columns' | 'cipher' | 'options'> = {
  columns: {
    value: 'base64(json({"iv": base64(nonce:16), "value": base64(ct), "mac": hex(mac:32), "tag": ""}))',
  },
  cipher: 'aes-256-cbc-hmac-sha256',
  options: { mac: 'base64(nonce) base64(ct)' },
}
const cryptoJs = {
  derive: 'slice(evp-bytes-to-key-md5(key, salt, 48), 0, 32)',
  nonce: 'slice(evp-bytes-to-key-md5(key, salt, 48), 32, 16)',
}
const unkeyBlob = '{2: nonce:12, 3: ct tag:16, 4: utf8(keyid), ...}'
const grafana = 'pbkdf2-sha256(salt=salt, iterations=10000)'

const others: readonly Declared[] = [
  {
    file: '12-payload',
    case: 1,
    level: 'data',
    columns: { value: 'hex(nonce:16 ct)' },
    cipher: 'aes-256-ctr',
    derive: 'slice(hex(sha256(key)), 0, 32)',
    test: 'utf8 and prefix "sk-"',
  },
  {
    file: '19-medguard-kwp',
    level: 'wrap',
    columns: { wrapped_key: 'ct' },
    cipher: 'aes-256-kwp',
    options: { initialValue: 'a6a6a6a6' },
    derive: 'hkdf-sha256(salt="medguard-kek-salt", info="medguard-kek")',
  },
  {
    file: '21-n8n',
    case: 0,
    level: 'data',
    columns: { data: 'base64(0x01 salt:32 tag:16 ct)' },
    derive: 'hkdf-sha256(salt=salt, info="n8n-encryption-v1", length=32)',
    nonce: 'slice(hkdf-sha256(salt=salt, info="n8n-encryption-v1", length=44), 32, 12)',
  },
  {
    file: '21-n8n',
    case: 1,
    level: 'data',
    columns: { data: 'base64("Salted__" salt:8 ct)' },
    cipher: 'aes-256-cbc',
    ...cryptoJs,
    test: 'utf8 and prefix "sk-"',
  },
  {
    file: '22-unauthenticated',
    case: 0,
    level: 'data',
    columns: { secret: 'hex(nonce:16) ":" hex(ct)' },
    cipher: 'aes-256-cbc',
    test: 'prefix "sk-"',
  },
  {
    file: '22-unauthenticated',
    case: 1,
    level: 'data',
    columns: { secret: '"v3:" hex(nonce:16) ":" hex(ct)' },
    cipher: 'aes-256-ctr',
    test: 'prefix "sk-"',
  },
  {
    file: '24-mongoose-field-encryption',
    level: 'data',
    columns: { name: 'hex(nonce:16) ":" hex(ct)' },
    cipher: 'aes-256-cbc',
    derive: 'slice(hex(sha256(key)), 0, 32)',
    test: 'utf8 and prefix "sk-"',
  },
  {
    file: '25-cryptojs',
    level: 'data',
    columns: { encryptedData: 'base64("Salted__" salt:8 ct)' },
    cipher: 'aes-256-cbc',
    ...cryptoJs,
    test: 'json',
  },
  ...[0, 1].flatMap((number): readonly Declared[] => [
    {
      file: '27-agenticos',
      case: number,
      level: 'wrap',
      columns: { ciphertext: agenticos },
      prefix: 'dek.',
      cipher: 'fernet',
      derive: 'sha256(key "|org:" {organization_id} "|v" {key_version})',
      dekLayout: 'base64urlpad(ct)',
    },
    {
      file: '27-agenticos',
      case: number,
      level: 'data',
      columns: { ciphertext: agenticos },
      cipher: 'fernet',
    },
  ]),
  {
    file: '28-awx',
    level: 'data',
    columns: { 'inputs.password': `"$encrypted$UTF8$AESCBC$" base64(${bundle('')})` },
    cipher: 'fernet-256',
    derive: 'sha512(key {pk} "password")',
  },
  { file: '29-serverpilot-aeskw', level: 'wrap', columns: { encrypted_dek: 'ct:40' }, cipher: 'aes-256-kw' },
  {
    file: '30-myfinance',
    level: 'wrap',
    columns: { wrapped_dek: `0x01 ${gcm}` },
    derive:
      'hkdf-sha256(lp16(key) lp32("user-claim-secret"), salt={key_salt}, info="myfinance/v1/key-wrapping-key|kek:" {kek_version})',
    aad: '"myfinance/v1/dek|" uuid({user_id}) "|kek:" {kek_version}',
  },
  { file: '32-laravel', case: 0, level: 'data', ...laravel },
  { file: '32-laravel', case: 1, level: 'data', ...laravel, packed: 'php' },
  {
    file: '33-rails',
    case: 1,
    level: 'data',
    columns: {
      value: 'json({"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), "c": true, ...}})',
    },
    packed: 'deflated',
  },
  {
    file: '35-cloudcontroller',
    level: 'data',
    columns: { value: 'base64(ct)', salt: 'nonce:16' },
    cipher: 'aes-128-cbc',
    derive: 'pbkdf2-sha256(salt={salt}, iterations={encryption_iterations}, length=16)',
    test: 'utf8 and prefix "sk-"',
  },
  {
    file: '40-unkey',
    level: 'wrap',
    columns: { object: `proto({3: ${unkeyBlob}, ...})` },
    dekLayout: 'proto({3: ct, ...})',
  },
  { file: '40-unkey', level: 'data', columns: { encrypted: `base64(proto(${unkeyBlob}))` } },
  {
    file: '46-grafana',
    level: 'wrap',
    columns: { encrypted_data: '"*YWVzLWNmYg*" salt:8 nonce:16 ct' },
    cipher: 'aes-256-cfb',
    derive: grafana,
    test: 'length 16',
  },
  {
    file: '46-grafana',
    level: 'data',
    columns: { secret: '"#" base64nopad(keyid) "#*YWVzLWNmYg*" salt:8 nonce:16 ct' },
    cipher: 'aes-256-cfb',
    derive: grafana,
    test: 'utf8',
  },
  {
    file: '47-mongo-csfle-local',
    level: 'wrap',
    columns: { keyMaterial: 'nonce:16 ct mac:32' },
    cipher: 'mongodb-fle1',
  },
]

export const declarations: readonly Declared[] = [
  {
    file: '01-rcrt',
    level: 'wrap',
    columns: { dek_encrypted: 'nonce:24 ct tag:16' },
    cipher: 'xchacha20-poly1305',
  },
  { file: '01-rcrt', level: 'data', columns: { enc_blob: gcm } },
  { file: '02-origan', level: 'wrap', columns: { encrypted_dek: 'base64(nonce:16 ct tag:16)' } },
  {
    file: '02-origan',
    level: 'data',
    columns: { 'variables.DATABASE_URL.value': 'base64(nonce:16 ct tag:16)' },
  },
  {
    file: '03-progressdb',
    case: 0,
    level: 'wrap',
    columns: { pebble_value: `json({"ciphertext": base64(${gcm}), ...})` },
  },
  {
    file: '03-progressdb',
    case: 1,
    level: 'wrap',
    columns: { wrapped_dek: `base64(json({"ciphertext": base64(${gcm}), ...}))` },
  },
  {
    file: '03-progressdb',
    case: 2,
    level: 'data',
    columns: { body_v: `base64(json({"ciphertext": base64(${gcm}), ...}))` },
  },
  { file: '04-bunkms', case: 0, level: 'data', columns: { value: gcm } },
  {
    file: '04-bunkms',
    case: 1,
    level: 'data',
    columns: { ciphertext: `base64(u32be(version) ${gcm})` },
    aad: '{aad}',
  },
  {
    file: '04-bunkms',
    case: 2,
    level: 'data',
    columns: { ciphertext: `base64(u32be(version) ${gcm})` },
    aad: '{aad}',
  },
  { file: '04-bunkms', case: 3, level: 'data', columns: { value: gcm } },
  { file: '04-bunkms', case: 4, level: 'data', columns: { 'rec.Ciphertext': `base64(${gcm})` } },
  { file: '05-bundoc', case: 0, level: 'data', columns: { page: 'nonce:12 ct:8192 tag:16' } },
  { file: '05-bundoc', case: 1, level: 'data', columns: { page: 'nonce:12 ct:8192 tag:16' } },
  {
    file: '06-extport',
    level: 'wrap',
    columns: { dek_encrypted: '"v1." base64(nonce:12) "." base64(ct tag:16)' },
  },
  {
    file: '06-extport',
    level: 'data',
    columns: { credential: '"v1." base64(nonce:12) "." base64(ct tag:16)' },
  },
  { file: '08-langfuse', level: 'data', columns: { secret: 'hex(nonce:12) ":" hex(ct) ":" hex(tag:16)' } },
  {
    file: '09-lobechat',
    level: 'data',
    columns: { key_vaults: 'hex(nonce:12) ":" hex(tag:16) ":" hex(ct)' },
  },
  {
    file: '12-payload',
    case: 0,
    level: 'data',
    columns: { value: '"v1:" hex(keyid:8) ":" hex(nonce:12) ":" hex(tag:16) ":" hex(ct)' },
    derive: 'hkdf-sha256(salt="", info="payload-secret-v1")',
  },
  {
    file: '14-atlas',
    level: 'wrap',
    columns: { dek_enc: 'header(0x0101 lp16(u32be(iterations) 0x0801 salt:32)) nonce:12 tag:16 ct' },
    aad: 'header',
    derive: 'scrypt(salt=lp16({tenant_id}) salt, n=iterations, r=8, p=1)',
  },
  { file: '14-atlas', level: 'data', columns: { object: 'nonce:12 tag:16 ct' } },
  {
    file: '16-enc-v2',
    level: 'data',
    columns: { credential: '"enc:v2:" utf8(keyid) ":" base64(nonce:12) ":" base64(tag:16) ":" base64(ct)' },
  },
  { file: '17-localkek', level: 'wrap', columns: { wrapped_dek: 'nonce:12 tag:16 ct' } },
  { file: '29-serverpilot-aeskw', level: 'data', columns: { nonce: 'nonce:12', ciphertext: 'ct tag:16' } },
  {
    file: '30-myfinance',
    level: 'data',
    columns: { iban: `0x01 ${gcm}` },
    aad: '"myfinance/v1/cell|" uuid({user_id}) "|accounts|iban"',
    derive: 'hkdf-sha256(info="myfinance/v1/table|accounts")',
  },
  {
    file: '31-json-envelope-canonical-aad',
    level: 'wrap',
    columns: { blob: 'json({"wrap_nonce": base64(nonce:12), "wrapped_dek": base64(ct tag:16), ...})' },
    aad: blobAad,
    cells: blobMembers,
  },
  {
    file: '31-json-envelope-canonical-aad',
    level: 'data',
    columns: { blob: 'json({"content_nonce": base64(nonce:12), "ciphertext": base64(ct tag:16), ...})' },
    aad: blobAad,
    cells: blobMembers,
  },
  {
    file: '32-laravel',
    case: 2,
    level: 'data',
    columns: {
      value: 'base64(json({"iv": base64(nonce:12), "value": base64(ct), "mac": "", "tag": base64(tag:16)}))',
    },
  },
  {
    file: '33-rails',
    case: 0,
    level: 'wrap',
    derive: 'pbkdf2-sha256(salt="rails-derivation-salt", iterations=65536)',
    columns: {
      value:
        'json({"h": {"k": {"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}}, ...}, ...})',
    },
  },
  {
    file: '33-rails',
    case: 1,
    level: 'wrap',
    derive: 'pbkdf2-sha256(salt="rails-derivation-salt", iterations=65536)',
    columns: {
      value:
        'json({"h": {"k": {"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}}, ...}, ...})',
    },
  },
  {
    file: '33-rails',
    case: 0,
    level: 'data',
    columns: { value: 'json({"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}})' },
  },
  {
    file: '33-rails',
    case: 2,
    level: 'data',
    derive: 'pbkdf2-sha256(salt="rails-derivation-salt", iterations=65536)',
    columns: { value: 'json({"p": base64(ct), "h": {"iv": base64(nonce:12), "at": base64(tag:16), ...}})' },
  },
  {
    file: '36-hikyo',
    level: 'data',
    columns: { record: 'header(0x010101 lp32(keyid) u32be(version) lp32(nonce:24)) ct tag:16' },
    cipher: 'xchacha20-poly1305',
    aad: 'header lp32("org_1") lp32("prj_1") lp32("env_1") lp32("key_1") lp32("row_1") lp32("value")',
  },
  {
    file: '37-sops',
    level: 'data',
    columns: {
      value: '"ENC[AES256_GCM,data:" base64(ct) ",iv:" base64(nonce:32) ",tag:" base64(tag:16) ",type:str]"',
    },
    aad: '{path}',
  },
  {
    file: '42-secretbox',
    level: 'data',
    columns: { value: '"k8s:enc:secretbox:v1:" utf8(keyid) ":" nonce:24 tag:16 ct' },
    cipher: 'xsalsa20-poly1305',
  },
  {
    file: '45-vault-transit',
    level: 'data',
    columns: { value: `"vault:v" dec(version) ":" base64(${gcm})` },
  },
  ...others,
]
