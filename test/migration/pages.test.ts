import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { loadConfig } from '../../src/config/config.ts'
import { GcmBatch } from '../../src/core/aead/gcm-batch.ts'
import { homeAt } from '../../src/keyring/home.ts'
import { readKeyring } from '../../src/keyring/keyring.ts'
import { compileEnvelopes } from '../../src/migration/envelope/compile-envelope.ts'
import type { Envelope } from '../../src/migration/envelope/envelope.ts'
import { KeyBook } from '../../src/migration/envelope/key-book.ts'
import { openPage, openRecord, type Opened } from '../../src/migration/envelope/open-record.ts'
import { heldBy, proveRewritten, type Rewritten } from '../../src/migration/envelope/prove-record.ts'
import { sealPage } from '../../src/migration/envelope/seal-record.ts'
import type { StoredRecord } from '../../src/stores/store.ts'
import { bufferOf, plainTwoLevels } from '../support/application.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

let workspace: Workspace
let envelope: Envelope
let book: KeyBook

beforeAll(async () => {
  workspace = makeWorkspace({ shape: plainTwoLevels, rows: 40 }).begin()
  workspace.ok('rotate', 'master', '--offline', '--yes', '--without-backup', '--reason', 'a test')
  // Some of each version, a stranger's, and a damaged one.
  for (let id = 1; id <= 15; id++) workspace.put(id, workspace.currentKey())
  workspace.put(20, workspace.strangeKey())
  workspace.sql((database) => database.exec("UPDATE secrets SET ciphertext = 'AAAA' WHERE id = 30"))
  const home = homeAt(workspace.home)
  const [compiled] = compileEnvelopes(await loadConfig({ config: workspace.file('kvx.yaml') }))
  envelope = compiled as Envelope
  book = await KeyBook.load(home, await readKeyring(home), 'master')
})

afterAll(() => {
  book.wipe()
  workspace.close()
})

function records(): readonly StoredRecord[] {
  return workspace.rows().map((row) => ({
    id: [BigInt(Number(row['id']))],
    cells: { wrapped_dek: bufferOf(row['wrapped_dek']), ciphertext: String(row['ciphertext']) },
  }))
}

function facts(opened: Opened): object {
  if (opened.kind !== 'sealed') return opened
  const secrets = opened.under.map(({ version, secret }) => [version, Buffer.from(secret).toString('hex')])
  return { versions: [...opened.versions], labels: opened.labels, bare: opened.bare, secrets }
}

/** A page sealed under version 2, as a store would give it back. */
function rewritten(): readonly Rewritten[] {
  const page = records().flatMap((record) => {
    const opened = openRecord(envelope, record, book)
    return opened.kind === 'sealed' && opened.versions.has(1) ? [{ record, opened }] : []
  })
  const changes = sealPage(envelope, page, { book, target: 2 })
  return page.map(({ record, opened }, at): Rewritten => {
    const change = changes[at] ?? {}
    const written = { id: record.id, cells: { ...record.cells, ...change } }
    return { record, before: heldBy(opened), change, written }
  })
}

describe('a page', () => {
  test('opens to what its records open to one by one: of two versions, of strangers, and damaged', () => {
    const all = records()
    const together = openPage(all, { envelope, book }).map(facts)
    expect(together).toEqual(all.map((record) => facts(openRecord(envelope, record, book))))
    const kinds = Map.groupBy(together, (one) => JSON.stringify('versions' in one ? one.versions : one))
    expect(Object.fromEntries([...kinds].map(([kind, found]) => [kind, found.length]))).toEqual({
      '[1]': 23,
      '[2]': 15,
      '{"kind":"unreadable","reason":"no-known-key"}': 1,
      '{"kind":"unreadable","reason":"shape"}': 1,
    })
  })

  test('that was sealed together is proven', () => {
    const all = rewritten()
    expect(all).toHaveLength(23)
    proveRewritten(envelope, all, { book, target: 2 })
  })

  test('that was sealed wrongly together is refused by the cipher that opens one by one', () => {
    const seal = vi
      .spyOn(GcmBatch.prototype, 'seal')
      .mockImplementation((values) =>
        values.map(({ ct }) => ({ ct: new Uint8Array(ct.length), tag: new Uint8Array(16) })),
      )
    const open = vi
      .spyOn(GcmBatch.prototype, 'open')
      .mockImplementation((values) => values.map(() => undefined))
    try {
      const all = rewritten()
      expect(seal).toHaveBeenCalled()
      expect(() => proveRewritten(envelope, all, { book, target: 2 })).toThrow('does not open')
    } finally {
      seal.mockRestore()
      open.mockRestore()
    }
  })

  test.each(['wrapped_dek', 'ciphertext'])('with one bit of %s turned in the store is refused', (column) => {
    const all = rewritten().map((one, at) => {
      if (at !== 7) return one
      const cell = one.written.cells[column]
      const bytes = Buffer.from(typeof cell === 'string' ? Buffer.from(cell, 'base64') : (cell as Uint8Array))
      bytes[20] = (bytes[20] ?? 0) ^ 1
      const turned = typeof cell === 'string' ? bytes.toString('base64') : bytes
      return { ...one, written: { ...one.written, cells: { ...one.written.cells, [column]: turned } } }
    })
    expect(() => proveRewritten(envelope, all, { book, target: 2 })).toThrow('does not open')
  })

  test('in which the old version still opens one record is refused', () => {
    const all = rewritten().map((one, at) => (at === 3 ? { ...one, written: one.record } : one))
    expect(() => proveRewritten(envelope, all, { book, target: 2 })).toThrow('is not under version 2')
  })
})
