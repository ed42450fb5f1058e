import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import { loadConfig } from '../src/config/config.ts'
import { homeAt } from '../src/keyring/home.ts'
import { readKeyring } from '../src/keyring/keyring.ts'
import { compileEnvelopes } from '../src/migration/envelope/compile-envelope.ts'
import type { Envelope } from '../src/migration/envelope/envelope.ts'
import { KeyBook } from '../src/migration/envelope/key-book.ts'
import { findPending } from '../src/migration/find-pending.ts'
import type { QuarantineRow } from '../src/migration/journal.ts'
import { openedTogether } from '../src/migration/page-work.ts'
import { inOrder } from '../src/migration/read-ahead.ts'
import { type Helpers, HelperRoom } from '../src/migration/threads/helpers.ts'
import { useThreads } from '../src/platform/threads.ts'
import type { StoredRecord } from '../src/stores/store.ts'
import { bufferOf, plainTwoLevels } from '../test/support/application.ts'
import { makeWorkspace, type Workspace } from '../test/support/workspace.ts'
import { type Row, rowOf, type Scale, timed } from './measure.ts'

const reason = ['--without-backup', '--reason', 'a benchmark']

/** An application whose key was rotated and whose values still lie under the first version. */
function rotated(rows: number): Workspace {
  const workspace = makeWorkspace({ shape: plainTwoLevels, rows }).begin()
  workspace.ok('rotate', 'master', '--offline', '--yes', ...reason)
  return workspace
}

type InMemory = {
  readonly envelope: Envelope
  readonly book: KeyBook
  readonly records: readonly StoredRecord[]
  readonly count: number
}

/** The engine alone, in memory: open a record through its chain and wrap its DEK again, in one thread and in two. */
export async function inMemory({ memoryRecords: count, rounds }: Scale): Promise<readonly Row[]> {
  // As many as a page of a run.
  const workspace = rotated(500)
  const home = homeAt(workspace.home)
  const config = await loadConfig({ config: workspace.file('kvx.yaml') })
  const book = await KeyBook.load(home, await readKeyring(home), 'master')
  const room = new HelperRoom(config, new Map([['master', book]]))
  try {
    const [envelope] = compileEnvelopes(config)
    if (envelope === undefined) throw new Error('the workspace declares one envelope')
    const work = { envelope, book, records: recordsOf(workspace), count }
    useThreads(2)
    const helpers = await room.for(count)
    if (helpers === undefined) throw new Error('threads were asked for')
    const keks = [workspace.firstKey.bytes, randomBytes(32)].map((key) => createSecretKey(key))
    const bare = (): void => bareCiphers(keks as [KeyObject, KeyObject], work)
    const inOne = (): void => rewrap(work)
    const inTwo = async (): Promise<void> => rewrapInThreads(helpers, work)
    for (const warm of [inOne, inTwo, bare]) await timed(warm)
    const measured: { readonly one: number; readonly two: number; readonly bare: number }[] = []
    for (let round = 0; round < rounds; round++)
      measured.push({ bare: await timed(bare), one: await timed(inOne), two: await timed(inTwo) })
    const what = `${shown(count)} records opened through the chain and wrapped again, in memory`
    const beside = `the same ${shown(2 * count)} openings and ${shown(count)} seals by \`node:crypto\` alone, one thread`
    return [
      rowOf(
        { what, beside },
        measured.map(({ one: ms, bare: besideMs }) => ({ ms, besideMs })),
      ),
      rowOf(
        { what: `${what}, by the two threads of \`--workers 2\``, beside, target: 0.56 },
        measured.map(({ two: ms, bare: besideMs }) => ({ ms, besideMs })),
      ),
    ]
  } finally {
    await room.close()
    useThreads(undefined)
    book.wipe()
    workspace.close()
  }
}

function recordsOf(workspace: Workspace): readonly StoredRecord[] {
  return workspace.rows().map((row) => ({
    id: [BigInt(Number(row['id']))],
    cells: { wrapped_dek: bufferOf(row['wrapped_dek']), ciphertext: String(row['ciphertext']) },
  }))
}

/** As a sweep without helpers does it. */
function rewrap({ envelope, book, records, count }: InMemory): void {
  let found = 0
  for (let asked = 0; asked < count; asked += records.length) {
    for (const part of openedTogether(records)) {
      const unreadable: QuarantineRow[] = []
      const look = { target: 2, kind: 'rewrap', fresh: undefined, unreadable } as const
      const pending = findPending({ envelope, book }, part, look)
      for (const one of pending) one.wipe()
      found += pending.length
    }
  }
  requireAll(found, count)
}

/** As a sweep with helpers does it: pages go to the threads, more of them than there are threads at a time. */
async function rewrapInThreads(helpers: Helpers, { envelope, records, count }: InMemory): Promise<void> {
  let found = 0
  const pages = async function* (): AsyncGenerator<readonly StoredRecord[]> {
    for (let asked = 0; asked < count; asked += records.length) yield records
  }
  const work = { target: 2, kind: 'rewrap' } as const
  for await (const page of inOrder(pages(), helpers.width, (one) => helpers.find(envelope.name, one, work))) {
    for (const one of page.pending) one.wipe()
    found += page.pending.length
  }
  requireAll(found, count)
}

function requireAll(found: number, count: number): void {
  if (found < count) throw new Error(`${found} records were wrapped again instead of ${count}`)
}

function shown(count: number): string {
  return count.toLocaleString('en')
}

/** What the ciphers themselves take: unwrap the DEK, open the value with it, wrap the DEK. */
function bareCiphers(
  [old, next]: readonly [KeyObject, KeyObject],
  { records, count }: Pick<InMemory, 'records' | 'count'>,
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
