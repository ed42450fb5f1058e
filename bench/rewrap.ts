import { randomBytes } from 'node:crypto'
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
import { bareCiphers, type BareRecord, BareThread } from './bare-ciphers.ts'
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
    const keks = [workspace.firstKey.bytes, randomBytes(32)] as const
    const bareWork = { keks, records: bareRecordsOf(workspace), count }
    const threads = [1, 2].map(() => new BareThread({ ...bareWork, count: count / 2 }))
    const ways = {
      bare: () => bareCiphers(bareWork),
      bareInTwo: async () => Promise.all(threads.map((thread) => thread.run())),
      one: () => rewrap(work),
      two: async () => rewrapInThreads(helpers, work),
    }
    for (const warm of Object.values(ways)) await timed(warm)
    const measured: Record<keyof typeof ways, number>[] = []
    for (let round = 0; round < rounds; round++)
      measured.push({
        bare: await timed(ways.bare),
        bareInTwo: await timed(ways.bareInTwo),
        one: await timed(ways.one),
        two: await timed(ways.two),
      })
    for (const thread of threads) await thread.end()
    const what = `${shown(count)} records opened through the chain and wrapped again, in memory`
    const bare = `${shown(2 * count)} openings and ${shown(count)} seals by \`node:crypto\` alone`
    const besideOne = (name: 'bareInTwo' | 'one' | 'two', of: string, target?: number): Row =>
      rowOf(
        { what: of, beside: `the same ${bare}, one thread`, target },
        measured.map((round) => ({ ms: round[name], besideMs: round.bare })),
      )
    return [
      besideOne('one', what),
      besideOne('two', `${what}, by the two threads of \`--workers 2\``, 0.56),
      besideOne('bareInTwo', `${bare}, by two threads`),
    ]
  } finally {
    await room.close()
    useThreads(undefined)
    book.wipe()
    workspace.close()
  }
}

function bareRecordsOf(workspace: Workspace): readonly BareRecord[] {
  return workspace.rows().map((row) => ({
    dek: bufferOf(row['wrapped_dek']),
    value: String(row['ciphertext']),
    aad: `secrets|${String(row['id'])}`,
  }))
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
