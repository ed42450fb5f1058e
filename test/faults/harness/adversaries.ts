/**
 * What no fault of the machine shows: an application that writes in the middle of a batch, a database that keeps
 * something else than was written, two operators at once, a key whose backup nobody has opened.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { plainTwoLevels, secretOf, type Shape } from '../../support/application.ts'
import { runShimmed } from './shim.ts'
import { type Kit, untested } from './scenarios.ts'
import { SqliteSite } from './sites.ts'

export type Adversary = { readonly title: string; readonly work: (kit: Kit) => Promise<void> }

const rotateOffline = ['rotate', 'master', '--offline', '--yes', ...untested] as const

async function withSite(site: SqliteSite, work: (site: SqliteSite) => void | Promise<void>): Promise<void> {
  try {
    await work(site)
  } finally {
    await site.close()
  }
}

function rotated(shape: Shape = plainTwoLevels): SqliteSite {
  const site = SqliteSite.make({ shape, rows: 12, place: 'file' }).imported()
  site.ok(...rotateOffline)
  return site
}

/** A trigger that, when the first record is written, gives the second one another value, once. */
async function writesMeanwhile(): Promise<void> {
  await withSite(rotated(), async (site) => {
    const { workspace } = site
    const fresh = plainTwoLevels.seal(workspace.firstKey, 2)
    workspace.sql((database) => {
      database.exec('CREATE TABLE later (wrapped_dek BLOB, ciphertext TEXT)')
      database
        .prepare('INSERT INTO later VALUES (?, ?)')
        .run(fresh['wrapped_dek'] as Buffer, String(fresh['ciphertext']))
      database.exec(`CREATE TRIGGER meanwhile AFTER UPDATE OF wrapped_dek ON secrets WHEN new.id = 1 BEGIN
        UPDATE secrets SET (wrapped_dek, ciphertext) = (SELECT wrapped_dek, ciphertext FROM later)
          WHERE id = 2 AND EXISTS (SELECT 1 FROM later);
        DELETE FROM later; END`)
    })
    const { exit } = site.json('rewrap', '--yes')
    assert.deepEqual(await site.lost(site.keys()), [], 'a write of the application was overwritten')
    if (exit !== 0) site.ok('run', 'resume')
    await site.expectUnder(2)
    const row = workspace.rows().find(({ id }) => Number(id) === 2)
    assert.equal(row?.['ciphertext'], fresh['ciphertext'], 'the later value is the one that stays')
    assert.ok(plainTwoLevels.open(site.material(2), 2, row ?? {})[0]?.startsWith(secretOf(2)))
  })
}

/** A trigger that spoils what is written: the batch is undone, and the old bytes are there. */
async function keepsSomethingElse(spoil: string): Promise<void> {
  await withSite(rotated(), async (site) => {
    const before = site.workspace.rows()
    site.workspace.sql((database) =>
      database.exec(`CREATE TRIGGER meddle AFTER UPDATE OF wrapped_dek ON secrets BEGIN
        UPDATE secrets SET ${spoil} WHERE id = new.id; END`),
    )
    const { exit, error } = site.json('rewrap', '--yes')
    assert.deepEqual([exit, error?.code], [5, 'READ_BACK_FAILED'])
    assert.deepEqual(site.workspace.rows(), before, 'what was spoiled stays written')
    site.workspace.sql((database) => database.exec('DROP TRIGGER meddle'))
    site.ok('run', 'resume')
    await site.expectUnder(2)
  })
}

/** Operators who begin at the same instant: one works, the others learn that; nobody works beside it. */
async function contenders(count: number): Promise<void> {
  await withSite(rotated(), async (site) => {
    const ends = await Promise.all(
      Array.from({ length: count }, async () =>
        runShimmed(site, ['rewrap', '--yes', '--batch', '1', '--rate', '8', '--json']),
      ),
    )
    const exits = ends.map(({ exit }) => exit ?? -1).sort((a, b) => a - b)
    assert.deepEqual(exits, [0, ...Array.from({ length: count - 1 }, () => 8)])
    assert.equal(site.runs().filter(({ kind }) => kind === 'rewrap').length, 1)
    await site.expectUnder(2)
  })
}

/** No value moves to a version whose backup nobody has opened. */
async function withoutBackup(kit: Kit): Promise<void> {
  const options = { shape: plainTwoLevels, rows: 4, place: 'file' as const }
  await withSite(SqliteSite.make(options).imported(), (site) => {
    const { exit, error } = site.json('rotate', 'master', '--offline', '--then', 'data', '--yes')
    assert.deepEqual([exit, error?.code], [6, 'NO_TESTED_BACKUP'])
    assert.equal(site.ring()?.seals, 1)
  })
  const recipients = [kit.recipient()]
  await withSite(SqliteSite.make({ ...options, gpg: kit.gpg, recipients }).imported(), async (site) => {
    site.ok('rotate', 'master', '--offline', '--then', 'data', '--yes')
    const names = readdirSync(site.file('.kvx/backups'))
    const made = names.filter((name) => /^master\.v2\..*\.asc$/.test(name))
    assert.equal(made.length, 1, 'the new version has its backup')
    for (const name of made)
      assert.ok(kit.gpg.decrypt(readFileSync(site.file('.kvx/backups', name))).includes('receipt:'))
    await site.expectUnder(2)
  })
}

/** The gate looks at the data, not at what the journal says. */
async function retiresTooEarly(): Promise<void> {
  await withSite(rotated(), async (site) => {
    site.ok('rewrap', '--yes')
    site.workspace.put(5, site.workspace.firstKey)
    const { exit, error } = site.json('retire', 'master@1', '--confirm', 'master@1')
    assert.deepEqual([exit, error?.code], [6, 'VALUES_REMAIN'])
    await site.expectWhole()
    assert.deepEqual(site.publishedKey('previous'), site.material(1))
  })
}

export const adversaries: readonly Adversary[] = [
  { title: 'an application writes in the middle of a batch', work: writesMeanwhile },
  {
    title: 'a database spoils the wrapped DEK',
    work: async () => keepsSomethingElse('wrapped_dek = zeroblob(60)'),
  },
  {
    title: 'a database spoils the value beside it',
    work: async () => keepsSomethingElse("ciphertext = ciphertext || 'A'"),
  },
  { title: 'twelve operators at once', work: async () => contenders(12) },
  { title: 'a key without a backup that opened', work: withoutBackup },
  { title: 'a value is put back under the old key', work: retiresTooEarly },
]
