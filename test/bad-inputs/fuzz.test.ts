import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseManifest } from '../../src/backup/manifest.ts'
import { parseShareSet } from '../../src/backup/shares/share-set.ts'
import { parseConfig } from '../../src/config/config.ts'
import { isKvxError } from '../../src/core/errors.ts'
import { compileLayout } from '../../src/core/layout/layout.ts'
import { decodeShare } from '../../src/core/share/share-text.ts'
import { parseVaultHeader, renderVaultHeader } from '../../src/vault/header.ts'

/**
 * Readers of what is not trusted get random bytes, and good ones with some bytes changed, taken out, doubled or put
 * in. They read it or refuse it with an error of the catalogue: never another one, never without an end.
 */

const config = `kvx: 1
keys:
  master: { purpose: kek, publish: [{ env-file: app.env, current: KEK, previous: OLD, encoding: base64 }] }
stores: { app: { sqlite: app.db } }
envelopes:
  app.secrets:
    store: app
    table: secrets
    id: id
    key: master
    dek: { column: dek, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }
    value: { column: value, aead: aes-256-gcm, layout: '"v1:" base64(nonce:12 ct tag:16)', aad: '"x|" {id}' }
`
const manifest = JSON.stringify({
  schema: 'kvx.backup-manifest/1',
  name: 'master',
  version: 1,
  fingerprint: 'ab'.repeat(32),
  recipients: [{ fingerprint: 'CD'.repeat(20), subkey: 'EF'.repeat(20), expires: null }],
  signature: 'x',
})
const header = renderVaultHeader({ name: 'tk', fingerprint: 'ab'.repeat(8), generation: 7n })
const share = 'KVX1QZYQKVXDEM2Z35V8T609T7QT2LR68ZRPQNC0MMR888NENLVEATCF42EFMGQEPXKT4XR2Y3Z7PM57WWSGQX7P'

type Reader = readonly [name: string, good: Buffer, read: (bytes: Buffer) => unknown]

const readers: readonly Reader[] = [
  ['the configuration', Buffer.from(config), (bytes) => parseConfig('kvx.yaml', bytes)],
  [
    'a layout',
    Buffer.from('"v1:" dec(version) ":" base64(nonce:12 ct tag:16)'),
    (bytes) => compileLayout(bytes.toString('latin1')),
  ],
  ['the manifest of a backup', Buffer.from(manifest), (bytes) => parseManifest(bytes, 'x')],
  ['the manifest of shares', Buffer.from(manifest), (bytes) => parseShareSet(bytes, 'x')],
  ['the header of a vault', header, (bytes) => parseVaultHeader(bytes, 'x')],
  ['a share', Buffer.from(share), (bytes) => decodeShare(bytes)],
]

const edit = fc.tuple(
  fc.constantFrom('set', 'cut', 'double', 'insert'),
  fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  fc.uint8Array({ minLength: 1, maxLength: 12 }),
)

function changed(good: Buffer, edits: readonly (readonly [string, number, Uint8Array])[]): Buffer {
  let bytes = Buffer.from(good)
  for (const [kind, where, some] of edits) {
    const at = Math.floor(where * (bytes.length + 1))
    const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)]
    const rest = kind === 'set' || kind === 'cut' ? tail.subarray(some.length) : tail
    const middle = kind === 'cut' ? Buffer.alloc(0) : kind === 'double' ? tail.subarray(0, 40) : some
    bytes = Buffer.concat([head, middle, rest])
  }
  return bytes
}

test.each(readers.filter(([name]) => !name.startsWith('the manifest')))(
  '%s is read as it stands',
  (_, good, read) => {
    expect(() => read(good)).not.toThrow()
  },
)

describe.each(readers)('%s', (_, good, read) => {
  const refusesInOrder = (bytes: Buffer): void => {
    try {
      read(bytes)
    } catch (error) {
      expect(isKvxError(error) && error.code !== 'BUG', String(error)).toBe(true)
    }
  }

  test('is read or refused in order, whatever bytes it is made of', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => refusesInOrder(Buffer.from(bytes))),
      { seed: 20_260_101, numRuns: 2000 },
    )
  })

  test('is read or refused in order with some bytes changed, taken out, doubled or put in', () => {
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 5 }), (edits) =>
        refusesInOrder(changed(good, edits)),
      ),
      { seed: 20_260_101, numRuns: 4000 },
    )
  })
})
