import { spawn } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { aes256Gcm, oneLevel, plainTwoLevels, secretOf, versionColumn } from '../support/application.ts'
import { type CliResult, type KvxDocument, startKvx } from '../support/cli.ts'
import { needsRoot } from '../support/needs.ts'
import { mount, run } from '../support/trusted-directory.ts'
import { makeWorkspace, treeFiles, type Workspace } from '../support/workspace.ts'

const rows = 30
const untested = ['--without-backup', '--reason', 'a test system'] as const
const rotateAll = ['rotate', 'master', '--offline', '--then', 'data', '--yes', ...untested] as const

let imported: Workspace
let rotated: Workspace
let versioned: Workspace
const open: Workspace[] = []
beforeAll(() => {
  imported = makeWorkspace({ shape: plainTwoLevels, rows }).begin()
  rotated = imported.copy()
  rotated.ok('rotate', 'master', '--offline', '--yes', ...untested)
  versioned = makeWorkspace({ shape: versionColumn, rows }).begin()
  open.push(imported, rotated, versioned)
})
afterAll(() => open.forEach((workspace) => workspace.close()))

function copyOf(workspace: Workspace): Workspace {
  const copy = workspace.copy()
  open.push(copy)
  return copy
}

type Refusal = {
  readonly exit: number
  readonly code: string
  /** Message and hint together. */
  readonly says: RegExp
  /** The message says all there is: the way out lies with the application. */
  readonly withoutHint?: true
}

/** A refusal has its exit code, says what to do, leaks nothing, and leaves every byte as it was. */
function expectRefusal(workspace: Workspace, args: readonly string[], refusal: Refusal): void {
  const before = treeFiles(workspace.path)
  const document = workspace.json(...args)
  const human = workspace.run(...args)
  expect(treeFiles(workspace.path)).toEqual(before)
  expectClean(workspace, human)
  expectClean(workspace, { exit: document.exit, stdout: JSON.stringify(document), stderr: '' })
  const { code, message, hint } = document.error ?? { code: 'none', message: '', hint: '' }
  expect({ exit: document.exit, code, human: human.exit }, message).toEqual({
    exit: refusal.exit,
    code: refusal.code,
    human: refusal.exit,
  })
  expect(`${message}\n${hint ?? ''}`).toMatch(refusal.says)
  if (refusal.withoutHint === true) return
  expect(hint ?? '', `a way out of: ${message}`).not.toBe('')
  expect(human.stderr).toContain('→')
}

/** No stack, and no key of the home or the application in any spelling. */
function expectClean(workspace: Workspace, { stdout, stderr }: CliResult): void {
  const said = stdout + stderr
  expect(said).not.toMatch(/\n\s+at /)
  expect(said).not.toMatch(/\b(?:TypeError|ERR_[A-Z_]+|SqliteError|ZodError)\b/)
  const folder = join(workspace.home, 'keys')
  const keys = readdirSync(folder).map((name) => readFileSync(join(folder, name)))
  for (const key of [...keys, workspace.firstKey.bytes]) {
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      expect(said.includes(key.toString(encoding)), `a key in ${encoding}`).toBe(false)
    }
  }
}

type Case = readonly [
  title: string,
  break_: (workspace: Workspace) => void,
  args: readonly string[],
  refusal: Refusal,
]

const edit =
  (from: string | RegExp, to: string) =>
  (workspace: Workspace): void => {
    const text = workspace.configuration()
    const changed = text.replace(from, to)
    if (changed === text) throw new Error('the edit changed nothing')
    workspace.writeConfig(changed)
  }
const sql =
  (...statements: readonly string[]) =>
  (workspace: Workspace): void =>
    workspace.sql((database) => statements.forEach((statement) => database.exec(statement)))
const invalid = (says: RegExp): Refusal => ({ exit: 2, code: 'CONFIG_INVALID', says })
const shape = (says: RegExp): Refusal => ({ exit: 2, code: 'STORE_SHAPE', says })

const configCases: readonly Case[] = [
  [
    'an unknown member, with the nearest name',
    edit('    table: secrets', '    tabel: secrets'),
    ['verify'],
    invalid(/kvx\.yaml:\d+:\d+: envelopes\.app\.secrets has no member "tabel"; did you mean "table"\?/),
  ],
  [
    'an unknown member of a published place',
    edit('previous: APP_KEK_OLD', 'previuos: APP_KEK_OLD'),
    ['verify'],
    invalid(/has no member "previuos"; did you mean "previous"\?/),
  ],
  [
    'the same name twice',
    edit('    table: secrets', '    table: secrets\n    table: other'),
    ['verify'],
    invalid(/kvx\.yaml:\d+:\d+: the same name stands twice/),
  ],
  [
    'a byte order mark',
    (workspace) => workspace.writeConfig(`\ufeff${workspace.configuration()}`),
    ['verify'],
    invalid(/kvx\.yaml:1:1: .*byte order mark/),
  ],
  [
    'a configuration that others can write',
    (workspace) => chmodSync(workspace.file('kvx.yaml'), 0o666),
    ['verify'],
    { exit: 6, code: 'UNSAFE_MODE', says: /chmod go-w / },
  ],
  [
    'a configuration that is missing',
    (workspace) => rmSync(workspace.file('kvx.yaml')),
    ['verify'],
    { exit: 2, code: 'CONFIG_NOT_FOUND', says: /kvx init/ },
  ],
  [
    'a store that is not declared, with the nearest name',
    edit('    store: app', '    store: apq'),
    ['verify'],
    invalid(/there is no store "apq"; did you mean "app"\?/),
  ],
  [
    'a layout that nobody could read back',
    edit('base64(nonce:12 ct tag:16)', 'base64(nonce:12 ct tag)'),
    ['verify'],
    { exit: 2, code: 'LAYOUT_INVALID', says: /kvx\.yaml:\d+:\d+: .*neither has a length/s },
  ],
  [
    'an AEAD that does not exist',
    edit('aead: aes-256-gcm', 'aead: aes-256-gmc'),
    ['verify'],
    invalid(/kvx\.yaml:\d+:\d+: .*aes-256-gcm/s),
  ],
  [
    'an env file that sets the variable twice',
    (workspace) =>
      writeFileSync(workspace.published, `${readFileSync(workspace.published, 'utf8')}APP_KEK=\n`),
    ['key', 'import', 'master'],
    invalid(/app\.env sets APP_KEK twice.*leave one line/s),
  ],
  ['a table that is missing', edit('table: secrets', 'table: secretz'), ['verify'], shape(/secretz/)],
  [
    'a column that is missing',
    edit('column: wrapped_dek', 'column: wraped_dek'),
    ['verify'],
    shape(/wraped_dek.*wrapped_dek/s),
  ],
  [
    'a view',
    sql('ALTER TABLE secrets RENAME TO real', 'CREATE VIEW secrets AS SELECT * FROM real'),
    ['verify'],
    { ...shape(/is a view: records can be changed in ordinary tables only/), withoutHint: true },
  ],
  [
    'an id that is not unique',
    sql(
      'ALTER TABLE secrets RENAME TO old',
      'CREATE TABLE secrets AS SELECT * FROM old',
      'UPDATE secrets SET id = 7 WHERE id = 8',
    ),
    ['verify'],
    shape(/not unique in 2 records/),
  ],
  [
    'an id that is null',
    sql(
      'ALTER TABLE secrets RENAME TO old',
      'CREATE TABLE secrets AS SELECT * FROM old',
      'UPDATE secrets SET id = NULL WHERE id = 8',
    ),
    ['verify'],
    shape(/is null in 1 record/),
  ],
  [
    'a database file that is missing',
    (workspace) => renameSync(workspace.database, workspace.file('moved.db')),
    ['verify'],
    { exit: 2, code: 'FILE_NOT_FOUND', says: /app\.db.*no such file/ },
  ],
  [
    'a database file that is none',
    (workspace) => writeFileSync(workspace.database, 'no database at all, some text instead\n'.repeat(40)),
    ['verify'],
    shape(/is not an SQLite database/),
  ],
]

describe('the configuration is refused for', () => {
  test.each(configCases)('%s', (_, break_, args, refusal) => {
    const workspace = copyOf(imported)
    break_(workspace)
    expectRefusal(workspace, args, refusal)
  })
})

const unreadable = (says: RegExp): Refusal => ({ exit: 5, code: 'UNREADABLE_RECORDS', says })

const dataCases: readonly Case[] = [
  [
    'a layout of the same shape in another order',
    edit('layout: "nonce:12 ct tag:16" }', 'layout: "tag:16 ct nonce:12" }'),
    rotateAll,
    unreadable(/30 records do not open in app\.secrets.*nothing was changed.*kvx verify/s),
  ],
  [
    'an AAD that is not the one',
    edit(`'"secrets|" {id}'`, `'"secret|" {id}'`),
    rotateAll,
    unreadable(/its value does not open with that DEK/),
  ],
  [
    'values that lie under the KEK although a DEK is declared',
    (workspace) => {
      for (let id = 1; id <= rows; id++) {
        const row = plainTwoLevels.seal(workspace.firstKey, id)
        const aad = Buffer.from(`secrets|${id}`)
        const nonce = Buffer.alloc(12, id)
        const plaintext = Buffer.from(secretOf(id))
        const { ct, tag } = aes256Gcm.seal(workspace.firstKey.bytes, nonce, plaintext, aad)
        workspace.put(id, workspace.firstKey, {
          ...row,
          ciphertext: Buffer.concat([nonce, ct, tag]).toString('base64'),
        })
      }
    },
    rotateAll,
    unreadable(/its value opens directly under the key, although a DEK is declared/),
  ],
  [
    'a row under a key that this home does not know',
    (workspace) => workspace.put(17, workspace.strangeKey()),
    rotateAll,
    unreadable(/1 record does not open.*17: no key of this home opens it/),
  ],
  [
    'a DEK of another length',
    (workspace) => {
      const nonce = Buffer.alloc(12, 7)
      const { ct, tag } = aes256Gcm.seal(
        workspace.firstKey.bytes,
        nonce,
        Buffer.alloc(16, 9),
        Buffer.alloc(0),
      )
      const row = plainTwoLevels.seal(workspace.firstKey, 5)
      workspace.put(5, workspace.firstKey, { ...row, wrapped_dek: Buffer.concat([nonce, ct, tag]) })
    },
    rotateAll,
    unreadable(/5: its DEK has another length/),
  ],
  [
    'a value without its DEK',
    sql('UPDATE secrets SET wrapped_dek = NULL WHERE id = 6'),
    rotateAll,
    unreadable(/6: it has a value and no wrapped DEK/),
  ],
  [
    'a value that was cut off',
    sql("UPDATE secrets SET ciphertext = 'AAAA' WHERE id = 6"),
    rotateAll,
    unreadable(/6: it does not fit the declared layout/),
  ],
]

describe('a run is refused before its first write for', () => {
  test.each(dataCases)('%s', (_, break_, args, refusal) => {
    const workspace = copyOf(imported)
    break_(workspace)
    expectRefusal(workspace, args, refusal)
    expect(workspace.json('verify').exit).toBe(3)
  })

  test('a value whose AAD is null in its row', () => {
    const workspace = copyOf(versioned)
    workspace.sql((database) => database.exec("UPDATE secrets SET tenant = 'moved' WHERE id = 9"))
    expectRefusal(workspace, rotateAll, unreadable(/9: no key of this home opens it/))
  })

  test('keys of another length than those that kvx makes', () => {
    const workspace = copyOf(imported)
    edit('aead: aes-256-gcm, layout: "nonce:12', 'aead: aes-128-gcm, layout: "nonce:12')(workspace)
    expectRefusal(workspace, ['rotate', 'master', '--offline', '--yes', ...untested], {
      exit: 2,
      code: 'USAGE',
      says: /takes keys of 16 bytes.*new keys of master have 32.*make: \{ bytes: 16 \}/s,
    })
  })

  test('a key that is published as printable text', () => {
    const workspace = copyOf(imported)
    edit('encoding: base64', 'encoding: ascii')(workspace)
    expectRefusal(workspace, ['rotate', 'master', '--offline', '--yes', ...untested], {
      exit: 2,
      code: 'USAGE',
      says: /printable text.*make: \{ characters: 32 \}/s,
    })
  })

  test('a key without a configured backup', () => {
    expectRefusal(copyOf(imported), ['rotate', 'master', '--offline', '--yes'], {
      exit: 6,
      code: 'NO_TESTED_BACKUP',
      says: /recipients.*--without-backup --reason/s,
    })
  })
})

const hex = '5b0c0f8e6f0e4f4a9a561c2d3e4f5a6b5b0c0f8e6f0e4f4a9a561c2d3e4f5a6b'
const secretArguments: readonly (readonly [string, readonly string[]])[] = [
  ['a key in hex', ['key', 'import', hex]],
  ['a key in base64', ['key', 'import', 'master', '--from', Buffer.from(hex, 'hex').toString('base64')]],
  ['a key behind an equals sign', ['key', 'import', 'master', `--from=${hex}`]],
  ['a key where a name stands', ['rotate', Buffer.from(hex, 'hex').toString('base64url'), '--yes']],
  ['a share', ['restore', '--from', 'gpg', `2-${hex}`]],
]

const confirmed: readonly (readonly [string, readonly string[]])[] = [
  ['rotate', ['rotate', 'master', '--offline', ...untested]],
  ['rotate with data', ['rotate', 'master', '--offline', '--then', 'data', ...untested]],
  ['key suspend', ['key', 'suspend', 'master@1', '--reason', 'x']],
  ['key compromise', ['key', 'compromise', 'master@1', '--reason', 'x']],
]

describe('the command line is refused for', () => {
  test.each(secretArguments)('%s', (_, args) => {
    const workspace = copyOf(imported)
    expectRefusal(workspace, args, { exit: 2, code: 'SECRET_IN_ARGUMENT', says: /replace that key/ })
    expect(workspace.run(...args).stderr).not.toContain(hex.slice(0, 12))
  })

  test.each(confirmed)('%s without a terminal and without --yes', (_, args) => {
    expectRefusal(copyOf(imported), args, { exit: 2, code: 'NOT_CONFIRMED', says: /--yes/ })
  })

  test.each([
    ['rewrap', ['rewrap'], /--yes/],
    ['rewrap with a declaration', ['rewrap', '--rolled-out'], /--yes/],
    ['run rollback', ['run', 'rollback', 'ID'], /--yes/],
    ['retire', ['retire', 'master@1'], /--confirm master@1/],
    ['retire with another name', ['retire', 'master@1', '--confirm', 'master@2'], /--confirm master@1/],
    ['retire with --yes alone', ['retire', 'master@1', '--yes'], /--confirm master@1/],
  ] as const)('%s without its confirmation', (title, args, says) => {
    const workspace = copyOf(rotated)
    if (title.startsWith('retire')) workspace.ok('rewrap', '--yes')
    const id = workspace.ok<{ runs: { id: string }[] }>('run', 'list').data.runs[0]?.id ?? ''
    const named = args.map((word) => (word === 'ID' ? id : word))
    expectRefusal(workspace, named, { exit: 2, code: 'NOT_CONFIRMED', says })
  })

  test.each([
    ['an unknown flag', ['verify', '--sampel', '3'], 'USAGE', /there is no flag --sampel/],
    ['one argument too many', ['rotate', 'master', 'other'], 'USAGE', /one argument too many/],
    [
      'a key that the configuration does not name',
      ['rotate', 'mster', '--yes'],
      'KEY_UNKNOWN',
      /mean master/,
    ],
    ['an envelope that is not declared', ['verify', 'app.secret'], 'ENVELOPE_UNKNOWN', /mean app\.secrets/],
    ['a version without a number', ['retire', 'master'], 'USAGE', /master@1/],
    ['a run that does not exist', ['run', 'rollback', 'none'], 'RUN_UNKNOWN', /kvx run list/],
    ['a resume of nothing', ['run', 'resume'], 'NOTHING_TO_RESUME', /kvx run list/],
    ['the wrong command for an envelope', ['reencrypt', 'app.secrets'], 'USAGE', /kvx rewrap app\.secrets/],
    ['--without-backup without a reason', ['rewrap', '--without-backup'], 'USAGE', /reason/],
  ] as const)('%s', (_, args, code, says) => {
    expectRefusal(copyOf(imported), args, { exit: 2, code, says })
  })
})

const homeCases: readonly Case[] = [
  [
    'a keyring that is cut off',
    (workspace) => truncateSync(join(workspace.home, 'keyring.json'), 100),
    ['verify'],
    { exit: 5, code: 'KEYRING_DAMAGED', says: /keyring\.json is damaged/ },
  ],
  [
    'a keyring with a value that kvx never wrote',
    (workspace) => {
      const path = join(workspace.home, 'keyring.json')
      writeFileSync(path, readFileSync(path, 'utf8').replace('"seals": 1', '"seals": "1"'))
    },
    ['rotate', 'master', '--offline', '--yes', ...untested],
    { exit: 5, code: 'KEYRING_DAMAGED', says: /keys\.master\.seals/ },
  ],
  [
    'a keyring that is lost while the keys are there',
    (workspace) => rmSync(join(workspace.home, 'keyring.json')),
    ['verify'],
    { exit: 2, code: 'HOME_NOT_FOUND', says: /kvx doctor --rebuild-keyring|restore --from home/ },
  ],
  [
    'a key file that is lost',
    (workspace) => rmSync(join(workspace.home, 'keys/master.v1.key')),
    ['verify'],
    { exit: 5, code: 'KEYRING_DAMAGED', says: /key file of master@1 is missing.*kvx restore --from gpg/s },
  ],
  [
    'a key file that holds another key',
    (workspace) => writeFileSync(join(workspace.home, 'keys/master.v1.key'), workspace.strangeKey().bytes),
    ['verify'],
    { exit: 5, code: 'FINGERPRINT_DIFFERS', says: /holds another key: check value/ },
  ],
  [
    'a home that others can enter',
    (workspace) => chmodSync(workspace.home, 0o750),
    ['verify'],
    { exit: 6, code: 'UNSAFE_MODE', says: /chmod 700 / },
  ],
  [
    'a folder above the home that others can write',
    (workspace) => chmodSync(workspace.path, 0o777),
    ['verify'],
    { exit: 6, code: 'UNSAFE_DIRECTORY', says: /chmod go-w / },
  ],
  [
    'a journal that is none',
    (workspace) => writeFileSync(join(workspace.home, 'kvx.db'), 'not a database, only text\n'.repeat(50)),
    ['rotate', 'master', '--offline', '--yes', ...untested],
    { exit: 5, code: 'KEYRING_DAMAGED', says: /journal.*move it away/s },
  ],
  [
    'an audit log whose end was changed',
    (workspace) => {
      const path = join(workspace.home, 'audit/log.jsonl')
      const text = readFileSync(path, 'utf8')
      writeFileSync(path, text.replace(/"exit":0(?!.*"exit":0)/s, '"exit":5'))
    },
    ['rotate', 'master', '--offline', '--yes', ...untested],
    { exit: 5, code: 'AUDIT_BROKEN', says: /audit/ },
  ],
  [
    'an audit key that is lost',
    (workspace) => rmSync(join(workspace.home, 'audit/audit.key')),
    ['rotate', 'master', '--offline', '--yes', ...untested],
    { exit: 2, code: 'FILE_NOT_FOUND', says: /audit/ },
  ],
  [
    'a published env file that everybody can read',
    (workspace) => chmodSync(workspace.published, 0o644),
    ['rotate', 'master', '--offline', '--yes', ...untested],
    { exit: 6, code: 'UNSAFE_MODE', says: /chmod o-r / },
  ],
]

describe('the home is refused for', () => {
  test.each(homeCases)('%s', (_, break_, args, refusal) => {
    const workspace = copyOf(imported)
    break_(workspace)
    expectRefusal(workspace, args, refusal)
  })
})

describe('one broken DEK among 10,000 rows', () => {
  test('is named before the first write; set aside, the rest goes on; mended, the run ends', () => {
    const workspace = copyOf(rotated)
    workspace.sql((database) => {
      const insert = database.prepare('INSERT INTO secrets VALUES (?, ?, ?)')
      database.exec('BEGIN')
      for (let id = rows + 1; id <= 10_000; id++) {
        const row = plainTwoLevels.seal(workspace.firstKey, id)
        insert.run(id, row['wrapped_dek'] as Buffer, row['ciphertext'] as string)
      }
      database.exec('COMMIT')
    })
    const good = workspace.rows()[7770]
    const broken = Buffer.from(good?.['wrapped_dek'] as Uint8Array)
    broken[20] = (broken[20] ?? 0) ^ 1
    workspace.put(7771, workspace.firstKey, { ...good, wrapped_dek: broken })

    expectRefusal(workspace, ['rewrap', '--yes'], {
      exit: 5,
      code: 'UNREADABLE_RECORDS',
      says: /1 record does not open in app\.secrets, e\.g\. 7771: no key of this home opens it.*--on-error quarantine/s,
    })
    const partly = workspace.json<{ envelopes: object[] }>('rewrap', '--on-error', 'quarantine', '--yes')
    expect(partly).toMatchObject({ exit: 4, error: { code: 'RECORDS_QUARANTINED' } })
    expect(partly.data.envelopes).toMatchObject([{ records: 10_000, changed: 9999, quarantined: 1 }])
    const current = workspace.publishedKey('current')
    expect(workspace.read(current)).toMatchObject({ opened: 9999, failed: 1 })
    const shown = workspace.run('run', 'show', partly.run ?? '')
    expect(shown.stdout).toContain('app.secrets 7771: no key of this home opens it')
    expect(workspace.json('run', 'resume').exit).toBe(4)
    const refused = workspace.json('retire', 'master@1', '--confirm', 'master@1')
    expect(refused).toMatchObject({ exit: 6, error: { code: 'RUN_OPEN' } })

    workspace.put(7771, workspace.firstKey, { ...good })
    workspace.ok('run', 'resume')
    expect(workspace.read(current)).toMatchObject({ opened: 10_000, failed: 0 })
    workspace.ok('retire', 'master@1', '--confirm', 'master@1')
  })

  test('that cannot be mended is accepted as lost by the retirement, which ends the run', () => {
    const workspace = copyOf(rotated)
    workspace.put(3, workspace.strangeKey())
    const partly = workspace.json('rewrap', '--on-error', 'quarantine', '--yes')
    expect(partly.exit).toBe(4)
    const confirm = ['--confirm', 'master@1']
    workspace.ok('retire', 'master@1', ...confirm, '--accept-loss', '1', '--reason', 'the backup has it')
    expect(workspace.json('run', 'resume').error?.code).toBe('NOTHING_TO_RESUME')
  })
})

describe('a name in the data', () => {
  test('cannot steer the terminal', () => {
    const workspace = copyOf(imported)
    workspace.sql((database) => {
      database.exec('ALTER TABLE secrets RENAME TO old')
      database.exec('CREATE TABLE secrets (id TEXT PRIMARY KEY, wrapped_dek BLOB, ciphertext TEXT)')
      database.prepare('INSERT INTO secrets VALUES (?, ?, ?)').run('\u001b[2J\u001b]0;x\u0007', null, 'AAAA')
    })
    const { exit, stdout, stderr } = workspace.run('verify')
    expect(exit).toBe(3)
    expect(stdout + stderr).not.toContain('\u001b')
    expect(stdout).toContain('\\u001b[2J')
  })
})

describe('what the data does not let through', () => {
  test('a trigger that changes what was written undoes the batch, and the run can go on without it', () => {
    const workspace = copyOf(rotated)
    const before = workspace.rows()
    sql(
      "CREATE TRIGGER meddle AFTER UPDATE OF wrapped_dek ON secrets BEGIN UPDATE secrets SET ciphertext = ciphertext || 'A' WHERE id = new.id; END",
    )(workspace)
    const failed = workspace.json('rewrap', '--yes')
    expect(failed).toMatchObject({ exit: 5, error: { code: 'READ_BACK_FAILED' } })
    expect(workspace.rows()).toEqual(before)
    expect(workspace.lost()).toEqual([])
    sql('DROP TRIGGER meddle')(workspace)
    workspace.ok('run', 'resume')
    expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows, failed: 0 })
  })

  test('a constraint that refuses the write is told without the value', () => {
    const workspace = copyOf(rotated)
    const before = workspace.rows()
    sql(
      "CREATE TRIGGER deny BEFORE UPDATE ON secrets BEGIN SELECT RAISE(ABORT, 'value was ' || old.ciphertext); END",
    )(workspace)
    const failed = workspace.json('rewrap', '--yes')
    expect(failed).toMatchObject({ exit: 2, error: { code: 'STORE_SHAPE' } })
    expect(JSON.stringify(failed)).not.toContain(String(before[0]?.['ciphertext']))
    expect(workspace.rows()).toEqual(before)
  })
})

describe('a database that another program has locked', () => {
  test('ends in exit 8 and nothing is changed', async () => {
    const workspace = copyOf(rotated)
    const holder = spawn(
      process.execPath,
      [
        '-e',
        `const { DatabaseSync } = require('node:sqlite')
         new DatabaseSync(process.argv[1]).exec('BEGIN EXCLUSIVE')
         console.log('locked'); setInterval(() => 0, 1000)`,
        workspace.database,
      ],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    )
    onTestFinished(() => void holder.kill('SIGKILL'))
    await new Promise((done) => holder.stdout.once('data', done))
    const before = treeFiles(workspace.path)
    const refused: KvxDocument = workspace.json('rewrap', '--yes')
    expect(refused).toMatchObject({ exit: 8, error: { code: 'LOCKED' } })
    expect(refused.error?.hint).toContain('fuser -v')
    expect(treeFiles(workspace.path)).toEqual(before)
    holder.kill('SIGKILL')
    await sleep(50)
    workspace.ok('rewrap', '--yes')
  })
})

describe('a home that cannot be written', () => {
  test.for([
    ['rotate', ['rotate', 'master', '--offline', '--yes', ...untested]],
    ['rotate with data', rotateAll],
    ['key suspend', ['key', 'suspend', 'master@1', '--reason', 'x', '--yes']],
  ] as const)('ends %s before anything was started, on a read-only file system', ([, args], context) => {
    needsRoot(context)
    const workspace = copyOf(imported)
    mountReadOnly(workspace.home)
    const before = treeFiles(workspace.path)
    const refused = workspace.json(...args)
    expect(refused.exit).toBe(9)
    expect(refused.error?.hint ?? '').not.toBe('')
    expect(treeFiles(workspace.path)).toEqual(before)
    expect(workspace.lost()).toEqual([])
    workspace.ok('verify')
    workspace.ok('run', 'list')
  })

  test('an audit log that cannot be written ends a run in exit 9, and nothing was started', (context) => {
    needsRoot(context)
    const workspace = copyOf(rotated)
    mountReadOnly(join(workspace.home, 'audit'))
    for (const args of [
      ['rewrap', '--yes'],
      ['rewrap', '--rolled-out', '--yes'],
      ['run', 'rollback', 'ID', '--yes'],
      ['key', 'compromise', 'master@1', '--reason', 'x', '--yes'],
    ]) {
      const id = workspace.ok<{ runs: { id: string }[] }>('run', 'list').data.runs[0]?.id ?? ''
      expectRefusal(
        workspace,
        args.map((word) => (word === 'ID' ? id : word)),
        { exit: 9, code: 'AUDIT_UNWRITABLE', says: /audit log can't be written/ },
      )
    }
  })
})

function mountReadOnly(directory: string): void {
  mount(directory, '--bind', directory)
  run('mount', '-o', 'remount,bind,ro', directory)
}

describe('a run whose plan does not hold any more', () => {
  async function killed(): Promise<{ workspace: Workspace; run: string }> {
    const workspace = copyOf(rotated)
    const child = startKvx(['rewrap', '--yes', '--batch', '1', '--rate', '40'], {
      cwd: workspace.path,
      env: workspace.env,
    })
    const ended = new Promise((done) => child.on('close', done))
    for (let tries = 0; tries < 1000 && workspace.read(workspace.firstKey.bytes).failed < 2; tries++)
      await sleep(10)
    child.kill('SIGKILL')
    await ended
    const run = workspace.ok<{ runs: { id: string; status: string }[] }>('run', 'list').data.runs[0]
    expect(run?.status).toBe('open')
    return { workspace, run: run?.id ?? '' }
  }

  test('is refused when plan.json was tampered with, cut off or lost, and goes on when it is back', async () => {
    const { workspace, run } = await killed()
    const path = join(workspace.home, 'runs', run, 'plan.json')
    const text = readFileSync(path, 'utf8')
    const refusal = { exit: 5, code: 'DAMAGED', says: /plan of run .*plan\.json/s }
    for (const other of [text.replace('"to": 2', '"to": 1'), text.slice(0, 50), undefined]) {
      if (other === undefined) rmSync(path)
      else writeFileSync(path, other)
      expectRefusal(workspace, ['run', 'resume'], refusal)
      expectRefusal(workspace, ['run', 'rollback', '--yes'], refusal)
    }
    writeFileSync(path, text, { mode: 0o600 })
    workspace.ok('run', 'resume')
    expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows, failed: 0 })
  })

  test('is exit 7 when the configuration changed, and goes on when it is as it was', async () => {
    const { workspace, run } = await killed()
    const refusal = {
      exit: 7,
      code: 'PLAN_DIFFERS',
      says: new RegExp(`app\\.secrets.*kvx run resume ${run}`, 's'),
    }
    for (const [from, to] of [
      ['"secrets|" {id}', '"other|" {id}'],
      ['    id: id', '    id: [id]'],
      ['  app.secrets:', '  app.others:'],
      ['base64(nonce:12 ct tag:16)', 'base64(ct nonce:12 tag:16)'],
    ] as const) {
      edit(from, to)(workspace)
      expectRefusal(workspace, ['run', 'resume'], refusal)
    }
    workspace.writeConfig(`# a comment, and another order, mean nothing\n${workspace.configuration()}`)
    workspace.ok('run', 'resume')
    expect(workspace.read(workspace.publishedKey('current'))).toMatchObject({ opened: rows, failed: 0 })
  })

  test('a second command for the key names the run and both ways', async () => {
    const { workspace, run } = await killed()
    for (const args of [
      ['rewrap', '--yes'],
      ['rotate', 'master', '--offline', '--yes', ...untested],
      ['retire', 'master@1', '--confirm', 'master@1'],
    ]) {
      expectRefusal(workspace, args, {
        exit: 6,
        code: 'RUN_OPEN',
        says: new RegExp(`kvx run resume ${run}.*kvx run rollback ${run}`),
      })
    }
  })
})

test('a directory in the place of a key file is refused without hanging', () => {
  const workspace = makeWorkspace({ shape: oneLevel, rows: 3, place: 'file' })
  open.push(workspace)
  workspace.begin()
  rmSync(workspace.published)
  mkdirSync(workspace.published)
  expectRefusal(workspace, ['key', 'import', 'master', '--from', `file:${workspace.published}`], {
    exit: 6,
    code: 'UNSAFE_FILE_TYPE',
    says: /a directory, not a regular file/,
  })
})
