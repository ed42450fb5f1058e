import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import { loadConfig } from '../src/config/config.ts'
import { homeAt } from '../src/keyring/home.ts'
import { readKeyring } from '../src/keyring/keyring.ts'
import { compileEnvelopes } from '../src/migration/envelope/compile-envelope.ts'
import { KeyBook } from '../src/migration/envelope/key-book.ts'
import { openPage } from '../src/migration/envelope/open-record.ts'
import { sealPage } from '../src/migration/envelope/seal-record.ts'
import type { StoredRecord } from '../src/stores/store.ts'
import { bufferOf, plainTwoLevels } from '../test/support/application.ts'
import { makeWorkspace, type Workspace } from '../test/support/workspace.ts'
import { beside, type Row, type Scale, timed } from './measure.ts'

const reason = ['--without-backup', '--reason', 'a benchmark']

/** An application whose key was rotated and whose values still lie under the first version. */
function rotated(rows: number): Workspace {
  const workspace = makeWorkspace({ shape: plainTwoLevels, rows }).begin()
  workspace.ok('rotate', 'master', '--offline', '--yes', ...reason)
  return workspace
}

/** The engine alone, in memory: open a record through its chain and wrap its DEK again. */
export async function inMemory({ memoryRecords: count, rounds }: Scale): Promise<Row> {
  // As many as a page of a run.
  const workspace = rotated(500)
  try {
    const home = homeAt(workspace.home)
    const [envelope] = compileEnvelopes(await loadConfig({ config: workspace.file('kvx.yaml') }))
    if (envelope === undefined) throw new Error('the workspace declares one envelope')
    const book = await KeyBook.load(home, await readKeyring(home), 'master')
    const records = workspace.rows().map(
      (row): StoredRecord => ({
        id: [BigInt(Number(row['id']))],
        cells: {
          wrapped_dek: bufferOf(row['wrapped_dek']),
          ciphertext: String(row['ciphertext']),
        },
      }),
    )
    const rewrap = (): void => {
      for (let done = 0; done < count; done += records.length) {
        const page = openPage(records, { envelope, book }).map((opened, at) => {
          if (opened.kind !== 'sealed') throw new Error('every record is sealed')
          return { record: records[at] as StoredRecord, opened }
        })
        sealPage(envelope, page, { book, target: 2 })
        for (const { opened } of page) opened.wipe()
      }
    }
    const keks = [workspace.firstKey.bytes, randomBytes(32)].map((key) => createSecretKey(key))
    const bare = (): void => bareCiphers(keks as [KeyObject, KeyObject], records, count)
    rewrap()
    bare()
    const names = {
      what: `${count.toLocaleString('en')} records opened through the chain and wrapped again, in memory`,
      beside: `the same ${(2 * count).toLocaleString('en')} openings and ${count.toLocaleString('en')} seals by \`node:crypto\` alone, one thread`,
      target: 0.56,
    }
    const row = await beside(names, rounds, async () => ({
      besideMs: await timed(bare),
      ms: await timed(rewrap),
    }))
    book.wipe()
    return row
  } finally {
    workspace.close()
  }
}

/** What the ciphers themselves take: unwrap the DEK, open the value with it, wrap the DEK. */
function bareCiphers(
  [old, next]: readonly [KeyObject, KeyObject],
  records: readonly StoredRecord[],
  count: number,
): void {
  for (let at = 0; at < count; at++) {
    const record = records[at % records.length] as StoredRecord
    const dek = open(old, bufferOf(record.cells['wrapped_dek'] as Buffer), undefined)
    const value = Buffer.from(String(record.cells['ciphertext']), 'base64')
    open(createSecretKey(dek), value, Buffer.from(`secrets|${String(record.id[0])}`))
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', next, nonce)
    Buffer.concat([nonce, cipher.update(dek), cipher.final(), cipher.getAuthTag()])
    dek.fill(0)
  }
}

function open(key: KeyObject, sealed: Buffer, aad: Buffer | undefined): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 })
  if (aad !== undefined) decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}
