import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { numberedValues, plainTwoLevels, versionColumn, xchachaWrap } from '../../support/application.ts'
import { GpgHome } from '../../support/gpg.ts'
import { type PostgresServer, postgresMissing, startPostgres } from '../../support/postgres.ts'
import type { WorkspaceOptions } from '../../support/workspace.ts'
import type { Scenario, Store } from './engine.ts'
import { shareScenarios } from './share-scenarios.ts'
import type { Site } from './site.ts'
import {
  directRows,
  DirectorySite,
  jsonFiles,
  PostgresSite,
  type RowForm,
  SqliteSite,
  VaultSite,
  wholeFiles,
  wrappedRows,
} from './sites.ts'

export const untested = ['--without-backup', '--reason', 'a test system'] as const
const rotateOffline = ['rotate', 'master', '--offline', '--yes', ...untested] as const
const rotateData = [...rotateOffline, '--then', 'data', '--batch', '8'] as const
const stage = ['rotate', 'master', '--stage', '--yes', ...untested] as const
/** Two batches of eight: the first and the last. */
const rows = 16

/** What several scenarios share, and what must be closed at the end. */
export class Kit {
  private gpgHome: GpgHome | undefined
  private readonly recipients = new Map<string, string>()
  private server: Promise<PostgresServer> | undefined

  /** A keyring with a recipient, whose agent is at work before any shim. */
  get gpg(): GpgHome {
    this.gpgHome ??= new GpgHome()
    return this.gpgHome
  }

  /** The fingerprint of this person's key. */
  recipient(name = 'operator'): string {
    const found = this.recipients.get(name) ?? this.gpg.makeKey(`${name}@example.org`)
    this.recipients.set(name, found)
    return found
  }

  async postgres(): Promise<PostgresServer> {
    this.server ??= startPostgres()
    return await this.server
  }

  async close(): Promise<void> {
    this.gpgHome?.remove()
    await (await this.server)?.stop()
  }
}

function typed<S extends Site>(scenario: Scenario<S>): Scenario {
  return scenario as unknown as Scenario
}

async function sqlite(
  options: Partial<WorkspaceOptions>,
  ...steps: readonly (readonly string[])[]
): Promise<SqliteSite> {
  const site = SqliteSite.make({ shape: plainTwoLevels, rows, ...options }).imported()
  for (const step of steps) site.ok(...step)
  return await Promise.resolve(site)
}

async function directory(
  form: typeof wholeFiles,
  ...steps: readonly (readonly string[])[]
): Promise<DirectorySite> {
  const site = new DirectorySite(form)
  for (const step of steps) site.ok(...step)
  return await Promise.resolve(site)
}

const under =
  (version: number) =>
  async (site: Site): Promise<void> =>
    await site.expectUnder(version)
const seals =
  (version: number) =>
  async (site: Site): Promise<void> =>
    await site.expectSeals(version)

/** Readers with one slot open everything, or have no key at all. */
async function allOrNothing(site: Site): Promise<void> {
  const key = site.publishedKey('current')
  if (key !== undefined)
    assert.deepEqual(await site.lost([key]), [], 'records that the one slot does not open')
}

/** Readers with two slots open everything. */
async function readable(site: Site): Promise<void> {
  const keys = [site.publishedKey('current'), site.publishedKey('previous')].filter(
    (key) => key !== undefined,
  )
  assert.deepEqual(await site.lost(keys), [], 'records that the published keys do not open')
}

function lastRun(site: Site): string {
  return site.runs().at(-1)?.id ?? 'none'
}

function keyScenarios(): readonly Scenario[] {
  return [
    typed<SqliteSite>({
      title: 'keygen',
      store: 'home',
      make: async () => {
        const site = SqliteSite.make({ shape: plainTwoLevels, rows: 0 }).initialised()
        writeFileSync(site.workspace.published, 'PORT=8080\n', { mode: 0o600 })
        return await Promise.resolve(site)
      },
      args: () => ['keygen', 'master'],
      done: seals(1),
    }),
    typed<SqliteSite>({
      title: 'keygen --dir',
      store: 'home',
      make: async () => {
        const site = SqliteSite.make({ shape: plainTwoLevels, rows: 0 })
        return await Promise.resolve(site)
      },
      args: (site) => ['keygen', 'bare', '--dir', site.path],
      already: ['TARGET_EXISTS'],
      done: (site) => assert.equal(readFileSync(site.file('bare.key')).length, 32),
      always: (site) => {
        if (existsSync(site.file('bare.key'))) assert.equal(readFileSync(site.file('bare.key')).length, 32)
      },
    }),
    typed<SqliteSite>({
      title: 'key import',
      store: 'home',
      make: async () =>
        await Promise.resolve(SqliteSite.make({ shape: plainTwoLevels, rows, place: 'file' }).initialised()),
      args: () => ['key', 'import', 'master'],
      already: ['TARGET_EXISTS', 'KEY_EXISTS'],
      done: under(1),
      always: readable,
    }),
    {
      title: 'rotate',
      store: 'home',
      make: async () => await sqlite({ place: 'file' }),
      args: () => rotateOffline,
      done: seals(2),
      old: seals(1),
      back: under(1),
      always: readable,
    },
    {
      title: 'rotate --stage',
      store: 'home',
      make: async () => await sqlite({ place: 'file' }),
      args: () => stage,
      done: async (site) => {
        await site.expectWhole()
        assert.equal(site.ring()?.staged, 2)
        assert.deepEqual(site.publishedKey('previous'), site.material(2))
      },
      always: readable,
    },
    {
      title: 'rotate --activate',
      store: 'home',
      make: async () => await sqlite({ place: 'file' }, stage),
      args: () => ['rotate', 'master', '--activate', '--rolled-out', '--yes'],
      again: true,
      done: seals(2),
      always: readable,
    },
    {
      title: 'retire',
      store: 'home',
      make: async () => await sqlite({ place: 'file' }, rotateData),
      args: () => ['retire', 'master@1', '--confirm', 'master@1'],
      already: ['STATE_TRANSITION'],
      done: async (site) => {
        await site.expectUnder(2)
        assert.notEqual(site.ring()?.versions['1']?.retired, null)
        assert.equal(site.publishedKey('previous'), undefined)
      },
      always: readable,
    },
  ]
}

function destroyScenario(kit: Kit): Scenario {
  return {
    title: 'destroy',
    store: 'home',
    make: async () => {
      const site = await sqlite(
        { gpg: kit.gpg, recipients: [kit.recipient()] },
        ['backup', 'create', 'master@1'],
        ['rotate', 'master', '--offline', '--then', 'data', '--yes'],
        ['retire', 'master@1', '--confirm', 'master@1'],
      )
      for (const { id } of site.runs()) site.ok('run', 'forget', id, '--confirm', id)
      site.ok('destroy', 'master@1', '--after', '1s', '--confirm', 'master@1')
      await sleep(1100)
      site.endingVersion = 1
      return site
    },
    args: () => ['destroy', '--due', '--no-input'],
    done: async (site) => {
      await site.expectUnder(2)
      assert.equal(site.ring()?.versions['1']?.state, 'destroyed')
      assert.ok(!existsSync(site.file('.kvx/keys/master.v1.key')))
    },
    always: readable,
  }
}

function custodians(kit: Kit, ...names: readonly string[]): readonly string[] {
  return names.flatMap((name) => ['--custodian', `${name}=${kit.recipient(name)}`])
}

function backupScenarios(kit: Kit): readonly Scenario[] {
  const people = (): readonly string[] => custodians(kit, 'boole', 'dirac', 'fermi')
  return [
    {
      title: 'backup create',
      store: 'home',
      make: async () => await sqlite({ gpg: kit.gpg, recipients: [kit.recipient()], rows: 4 }),
      args: () => ['backup', 'create', 'master'],
      done: async (site) => {
        const { data } = await site.ask<{ backups: { state: string }[] }>('backup', 'list')
        assert.ok(data.backups.some(({ state }) => state === 'tested'))
      },
    },
    {
      title: 'backup split',
      store: 'home',
      make: async () => await sqlite({ gpg: kit.gpg, rows: 4 }),
      args: () => ['backup', 'split', 'master', '--threshold', '2', ...people()],
      done: async (site) => {
        const { data } = await site.ask<{ shareSets: { state: string }[] }>('backup', 'list')
        assert.ok(data.shareSets.length > 0)
      },
    },
    restoreScenario(kit),
  ]
}

function restoreScenario(kit: Kit): Scenario {
  const first = new WeakMap<Site, Buffer>()
  const backup = (site: Site): string => {
    const [name = 'none'] = readdirSync(site.file('.kvx/backups')).filter((file) => file.endsWith('.asc'))
    return `./.kvx/backups/${name}`
  }
  return {
    title: 'restore --from gpg',
    store: 'home',
    make: async () => {
      const recipients = [kit.recipient()]
      const site = await sqlite({ gpg: kit.gpg, recipients, rows: 4 }, ['backup', 'create', 'master'])
      first.set(site, site.material(1))
      rmSync(site.file('.kvx/keys/master.v1.key'))
      site.lostVersion = 1
      return site
    },
    args: (site) => ['restore', '--from', 'gpg', backup(site), '--confirm', 'master@1'],
    // Killed before it took the first name of the file away, it is given again: until then it is not done.
    done: (site) => {
      assert.deepEqual(site.material(1), first.get(site))
      assert.ok(!existsSync(site.file('.kvx/keys/.master.v1.key.kvx-new')), 'a second name of the key')
    },
  }
}

function dataScenarios(): readonly Scenario[] {
  return [
    {
      title: 'rotate --then data, one slot',
      store: 'SQLite',
      make: async () => await sqlite({ place: 'env-one-slot', shape: versionColumn }),
      args: () => rotateData,
      done: under(2),
      old: under(1),
      back: under(1),
      always: allOrNothing,
    },
    {
      title: 'rewrap',
      store: 'SQLite',
      make: async () => await sqlite({ shape: xchachaWrap }, rotateOffline),
      args: () => ['rewrap', '--yes', '--batch', '8'],
      done: under(2),
      old: seals(2),
      back: under(1),
      always: readable,
    },
    {
      title: 'reencrypt',
      store: 'SQLite',
      make: async () => await sqlite({ shape: numberedValues, place: 'file' }, rotateOffline),
      args: () => ['reencrypt', '--yes', '--batch', '8'],
      done: under(2),
      old: seals(2),
      back: under(1),
      always: readable,
    },
    rollbackScenario(
      'SQLite',
      async () => await sqlite({ shape: numberedValues, place: 'file' }, rotateData),
    ),
    restoreRunScenario<SqliteSite>(
      'SQLite',
      async () => {
        const site = await sqlite({ shape: xchachaWrap }, rotateOffline, ['rewrap', '--yes'])
        site.missing = ['3', '7', '11']
        site.workspace.sql((database) =>
          database.exec(`DELETE FROM secrets WHERE id IN (${site.missing.join()})`),
        )
        return site
      },
      (site) => site.workspace.rows().map((row) => String(row['id'])),
    ),
    {
      title: 'rewrap',
      store: 'directory',
      make: async () => await directory(jsonFiles, rotateOffline),
      args: () => ['rewrap', '--yes', '--batch', '4'],
      done: under(2),
      old: seals(2),
      back: under(1),
      always: readable,
    },
    {
      title: 'reencrypt',
      store: 'directory',
      make: async () => await directory(wholeFiles, rotateOffline),
      args: () => ['reencrypt', '--yes', '--batch', '4'],
      done: under(2),
      old: seals(2),
      back: under(1),
      always: readable,
    },
    rollbackScenario('directory', async () => await directory(wholeFiles, rotateData)),
    restoreRunScenario<DirectorySite>(
      'directory',
      async () => {
        const site = await directory(wholeFiles, rotateOffline, ['reencrypt', '--yes'])
        site.missing = ['3.doc', '7.doc']
        for (const name of site.missing) rmSync(site.file('data', name))
        return site
      },
      (site) => readdirSync(site.file('data')),
    ),
  ]
}

function rollbackScenario(store: Store, make: () => Promise<Site>): Scenario {
  return {
    title: 'run rollback',
    store,
    make,
    args: (site) => ['run', 'rollback', site.runs()[0]?.id ?? 'none', '--yes', '--batch', '8'],
    done: under(1),
    always: readable,
  }
}

/** Records that went missing after a run come back as they were before it, and so do those that hold what it wrote. */
function restoreRunScenario<S extends Site>(
  store: Store,
  make: () => Promise<S>,
  there: (site: S) => readonly string[] | Promise<readonly string[]>,
): Scenario {
  return typed<S>({
    title: 'run restore',
    store,
    make,
    args: (site) => ['run', 'restore', lastRun(site), '--yes'],
    done: async (site) => {
      const found = await there(site)
      assert.deepEqual(
        site.missing.filter((id) => !found.includes(id)),
        [],
        'records that are still missing',
      )
      assert.deepEqual(await site.lost([site.material(1)]), [], 'records that are not as before the run')
      await site.expectSeals(2)
    },
    always: readable,
  })
}

function vaultScenarios(): readonly Scenario[] {
  const first = { db: { password: 'first' }, n: 1 }
  const vault = async (...steps: readonly (readonly string[])[]): Promise<VaultSite> => {
    const site = new VaultSite(first)
    for (const step of steps) site.ok(...step)
    return await Promise.resolve(site)
  }
  const holding = (content: object) => async (site: VaultSite) => {
    assert.equal(site.content(site.keys()), JSON.stringify(content))
    await site.expectWhole()
  }
  const changing = async (content: object): Promise<VaultSite> => {
    const site = await vault()
    site.contents.push(JSON.stringify(content))
    return site
  }
  const rotate = ['rotate', 'tk', '--offline', '--yes', ...untested]
  return [
    typed<VaultSite>({
      title: 'vault put',
      store: 'vault',
      make: async () => await changing({ ...first, api: 'new' }),
      args: () => ['vault', 'put', 'tk', '-'],
      input: () => JSON.stringify({ api: 'new' }),
      done: holding({ ...first, api: 'new' }),
    }),
    typed<VaultSite>({
      title: 'vault delete',
      store: 'vault',
      make: async () => await changing({ db: first.db }),
      args: () => ['vault', 'delete', 'tk', 'n', '--confirm', 'n'],
      done: holding({ db: first.db }),
    }),
    {
      title: 'reencrypt',
      store: 'vault',
      make: async () => await vault(rotate),
      args: () => ['reencrypt', '--yes'],
      done: under(2),
      old: seals(2),
      back: under(1),
      always: readable,
    },
  ]
}

function postgresScenarios(kit: Kit): readonly Scenario[] {
  const make = async (form: RowForm, ...steps: readonly (readonly string[])[]): Promise<PostgresSite> => {
    const site = await PostgresSite.make(await kit.postgres(), { form })
    for (const step of steps) site.ok(...step)
    return site
  }
  const moving = (title: 'rewrap' | 'reencrypt', form: RowForm): Scenario => ({
    title,
    store: 'PostgreSQL',
    make: async () => await make(form, rotateOffline),
    args: () => [title, '--yes', '--batch', '4'],
    done: under(2),
    old: seals(2),
    back: under(1),
    always: readable,
  })
  return [
    moving('rewrap', wrappedRows),
    moving('reencrypt', directRows),
    rollbackScenario('PostgreSQL', async () => await make(wrappedRows, [...rotateOffline, '--then', 'data'])),
    restoreRunScenario<PostgresSite>(
      'PostgreSQL',
      async () => {
        const site = await make(wrappedRows, rotateOffline, ['rewrap', '--yes'])
        await site.lose(3)
        return site
      },
      async (site) => site.ids(),
    ),
  ]
}

/** Every mutating command on every store that it works on. */
export function allScenarios(kit: Kit): readonly Scenario[] {
  return [
    ...keyScenarios(),
    ...backupScenarios(kit),
    ...shareScenarios({
      gpg: () => kit.gpg,
      people: () => custodians(kit, 'boole', 'dirac'),
      site: async (...steps) => await sqlite({ gpg: kit.gpg, rows: 4 }, ...steps),
    }),
    destroyScenario(kit),
    ...dataScenarios(),
    ...vaultScenarios(),
    ...(postgresMissing() === undefined ? postgresScenarios(kit) : []),
  ]
}
