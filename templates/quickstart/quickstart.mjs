// The quickstart: the whole main job on an application of its own, in a temporary folder. Every step prints the
// command that an operator would type and one line of proof, and is checked.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const here = import.meta.dirname
const kvxBin = join(here, '../../bin/kvx')
const begun = performance.now()
const folder = mkdtempSync(join(tmpdir(), 'kvx-quickstart-'))
const gnupg = join(folder, 'gnupg')
const env = {
  PATH: process.env.PATH,
  HOME: folder,
  GNUPGHOME: gnupg,
  LC_ALL: 'C',
  KVX_CONFIG: join(folder, 'kvx.yaml'),
}

function run(program, args, { allow = [0], input = '' } = {}) {
  const result = spawnSync(program, args, { cwd: folder, env, input, encoding: 'utf8' })
  if (!allow.includes(result.status)) {
    throw new Error(
      `${program} ${args.join(' ')} ended with ${result.status ?? result.error?.code}\n${result.stdout}${result.stderr}`,
    )
  }
  return result
}

const kvxWith = (input, ...args) => JSON.parse(run(kvxBin, [...args, '--json'], { input }).stdout).data
const kvx = (...args) => JSON.parse(run(kvxBin, [...args, '--json']).stdout).data
const app = (...args) => run(process.execPath, [join(here, 'app.mjs'), ...args]).stdout
const read = (file) => JSON.parse(app('read', 'app.db', file))

function newOpenPgpKey(name) {
  const id = `${name.toLowerCase()}@example.org`
  const words = ['--quick-generate-key', id, 'default', 'default', '2y']
  run('gpg', ['--batch', '--quiet', '--passphrase', '', ...words])
  const listing = run('gpg', ['--batch', '--with-colons', '--list-keys', id]).stdout
  const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(listing)?.[1]
  check(fingerprint !== undefined, 'gpg made a key')
  return fingerprint
}

function check(holds, what) {
  if (!holds) throw new Error(`the proof failed: ${what}`)
}

/** The state that one step leaves for the next. */
const seen = {}

const steps = [
  [
    'node app.mjs seal app.db app.env 1000      # an application with its own envelope encryption',
    () => {
      writeFileSync(
        join(folder, 'app.env'),
        `PORT=8080\nAPP_KEK=${randomBytes(32).toString('base64')}\nLOG=info\n`,
        { mode: 0o600 },
      )
      app('seal', 'app.db', 'app.env', '1000')
      copyFileSync(join(folder, 'app.env'), join(folder, 'before.env'))
      seen.before = read('app.env')
      check(seen.before.opened === 1000, 'the application reads its own values')
      return 'sealed 1,000 rows in SQLite under its own KEK, in an env file'
    },
  ],
  [
    'gpg --quick-generate-key …                  # throw-away keys: an operator, five custodians',
    () => {
      run('mkdir', ['-m', '700', gnupg])
      seen.recipient = newOpenPgpKey('operator')
      const names = ['Boole', 'Curie', 'Dirac', 'Euler', 'Fermi']
      seen.custodians = names.map((name) => ({ name, key: newOpenPgpKey(name) }))
      return `OpenPGP key ${seen.recipient} and five more`
    },
  ],
  [
    'kvx init',
    () => {
      for (const name of ['keys', 'vaults']) mkdirSync(join(folder, name), { mode: 0o700 })
      const made = kvx('init')
      writeFileSync(join(folder, 'kvx.yaml'), configuration(seen), { mode: 0o600 })
      check(existsSync(join(made.home, 'keyring.json')), 'there is a home')
      return `home and audit key ${made.auditFingerprint.slice(0, 16)}…; kvx.yaml describes the application`
    },
  ],
  [
    'kvx key import master',
    () => {
      const [one] = kvx('key', 'import', 'master').versions
      seen.first = one
      return `master@${one.version} taken over from app.env, check value ${one.checkValue}`
    },
  ],
  [
    'kvx verify',
    () => {
      const [envelope] = kvx('verify').envelopes
      check(
        envelope.records === 1000 && envelope.byVersion['master@1'] === 1000 && envelope.unreadable === 0,
        'everything opens',
      )
      return '1,000 records open under master@1, a random key opens none'
    },
  ],
  [
    'kvx backup create master',
    () => {
      const backup = kvx('backup', 'create', 'master')
      check(backup.tested, 'gpg opened the backup')
      const opened = run('gpg', ['--batch', '--quiet', '--decrypt', backup.file]).stdout
      const key = /^key-base64: *(\S+)$/m.exec(opened)?.[1]
      check(
        readFileSync(join(folder, 'app.env'), 'utf8').includes(`APP_KEK=${key}\n`),
        'plain gpg gives the key back',
      )
      return 'opened by plain gpg, and it is the key of app.env'
    },
  ],
  [
    'kvx rotate master --offline                # the application is stopped for a moment',
    () => {
      const { from, to, backup } = kvx('rotate', 'master', '--offline', '--yes')
      check(
        to.state === 'active' && from.state === 'deactivated' && backup.proven,
        'version 2 is backed up and seals',
      )
      const text = readFileSync(join(folder, 'app.env'), 'utf8')
      check(
        /^APP_KEK_OLD=/m.test(text) && /^PORT=8080$/m.test(text),
        'both keys are published, other lines are kept',
      )
      return 'master@2 made, backed up, opened by gpg, published; master@1 in the second slot'
    },
  ],
  [
    'kvx rewrap',
    () => {
      const { envelopes } = kvx('rewrap', '--yes')
      check(envelopes[0].changed === 1000 && envelopes[0].quarantined === 0, '1,000 DEKs moved')
      return 'before @1 1,000 → after @2 1,000, each read back; the old key opens 0'
    },
  ],
  [
    'kvx verify',
    () => {
      const [envelope] = kvx('verify').envelopes
      check(
        envelope.byVersion['master@2'] === 1000 && Object.keys(envelope.byVersion).length === 1,
        'all under version 2',
      )
      return '1,000 records open under master@2'
    },
  ],
  [
    'kvx retire master@1 --confirm master@1',
    () => {
      const { certificate } = kvx('retire', 'master@1', '--confirm', 'master@1')
      check(existsSync(certificate), 'there is a certificate')
      check(!/APP_KEK_OLD/.test(readFileSync(join(folder, 'app.env'), 'utf8')), 'the old key is unpublished')
      return 'two full scans found nothing that needs it; signed certificate; unpublished'
    },
  ],
  [
    'node app.mjs read app.db app.env            # and once more with the old env file',
    () => {
      const now = read('app.env')
      const old = read('before.env')
      check(now.opened === 1000 && now.digest === seen.before.digest, 'every value is what it was')
      check(old.opened === 0 && old.failed === 1000, 'the old key opens nothing')
      return 'the application reads 1,000 of 1,000 with the new key, 0 of 1,000 with the old one'
    },
  ],
  [
    'kvx keygen tk && kvx vault put tk -          # a vault: encrypted JSON, one file',
    () => {
      kvx('keygen', 'tk')
      kvxWith(JSON.stringify({ token: 'a secret of the vault' }), 'vault', 'put', 'tk', '-')
      const sealed = readFileSync(join(folder, 'vaults/tk.enc'))
      check(!sealed.includes('a secret of the vault'), 'nothing of it can be read in the file')
      seen.vault = sealed
      return 'vaults/tk.enc is sealed under tk@1'
    },
  ],
  [
    'kvx rotate tk --then data --activate         # the vault is re-encrypted',
    () => {
      kvx('rotate', 'tk', '--stage', '--yes')
      kvx('rotate', 'tk', '--activate', '--rolled-out', '--yes')
      const { envelopes } = kvx('reencrypt', 'tk', '--yes')
      check(envelopes[0].changed === 1, 'the vault moved')
      check(!readFileSync(join(folder, 'vaults/tk.enc')).equals(seen.vault), 'it is another ciphertext')
      const value = run(kvxBin, ['vault', 'get', 'tk', 'token']).stdout.trim()
      check(value === 'a secret of the vault', 'and the same value')
      kvx('retire', 'tk@1', '--confirm', 'tk@1')
      return 'staged, activated, re-encrypted under tk@2, read back; tk@1 is retired'
    },
  ],
  [
    'kvx backup split master                      # five custodians, any three rebuild the key',
    () => {
      seen.shares = kvx('backup', 'split', 'master')
      check(seen.shares.shares.length === 5 && seen.shares.threshold === 3, 'five shares, one file each')
      return `set ${seen.shares.set}: one OpenPGP file a custodian, every quorum recombined before they were written`
    },
  ],
  [
    'gpg --decrypt … | kvx restore --from shares --share-fd 0 --out rebuilt.key',
    () => {
      const letters = seen.shares.shares
        .filter(({ index }) => [1, 3, 5].includes(index))
        .map(({ file }) => run('gpg', ['--batch', '--quiet', '--decrypt', file]).stdout)
      const words = ['restore', '--from', 'shares', '--share-fd', '0', '--manifest', seen.shares.manifest]
      const { fingerprint } = kvxWith(letters.join('\n'), ...words, '--out', 'rebuilt.key')
      const published = /^APP_KEK=(\S+)$/m.exec(readFileSync(join(folder, 'app.env'), 'utf8'))?.[1]
      const rebuilt = readFileSync(join(folder, 'rebuilt.key')).toString('base64')
      check(rebuilt === published, 'three shares give the very key back')
      return `shares 1, 3 and 5 rebuild the key of app.env, fingerprint ${fingerprint.slice(0, 10).toUpperCase()}…`
    },
  ],
  [
    'kvx backup home --out offsite.json; rm -rf .kvx; kvx restore --from home offsite.json',
    () => {
      const { auditKeyFingerprint } = kvx('backup', 'home', '--out', 'offsite.json')
      rmSync(join(folder, '.kvx'), { recursive: true })
      const words = ['restore', '--from', 'home', 'offsite.json', '--expect-fingerprint', auditKeyFingerprint]
      const { missing } = kvx(...words, '--yes')
      for (const { subject, backup } of missing.filter((one) => one.backup !== undefined)) {
        kvx('restore', '--from', 'gpg', join('.kvx/backups', backup), '--confirm', subject)
      }
      const [envelope] = kvx('verify').envelopes
      check(envelope.byVersion['master@2'] === 1000 && envelope.unreadable === 0, 'everything opens again')
      return `keyring and backups came back from one file, ${missing.length} keys from their backups; 1,000 records open`
    },
  ],
  [
    'kvx audit verify',
    () => {
      const { entries, problemCount } = kvx('audit', 'verify')
      check(entries > 3 && problemCount === 0, 'the log is whole')
      return `${entries} entries since then, hash-chained and signed, all right`
    },
  ],
]

function configuration({ recipient, custodians }) {
  const people = custodians.map(({ name, key }) => `{ name: ${name}, openpgp: ${key} }`)
  return `kvx: 1
keys:
  master:
    purpose: kek
    publish:
      - { env-file: app.env, current: APP_KEK, previous: APP_KEK_OLD, encoding: base64 }
    backup:
      recipients: [${recipient}]
      shares: { threshold: 3, of: 5, custodians: [${people.join(', ')}] }
  tk:
    purpose: vault
    publish: [{ file: keys/tk.key, previous: keys/tk.key.previous, mode: "0600" }]
    backup:
      recipients: [${recipient}]
vaults:
  tk: { directory: vaults, key: tk }
stores:
  app: { sqlite: app.db }
envelopes:
  app.secrets:
    store: app
    table: secrets
    id: id
    key: master
    dek:   { column: wrapped_dek, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }
    value: { column: ciphertext, aead: aes-256-gcm, layout: "base64(nonce:12 ct tag:16)", aad: '"secrets|" {id}' }
`
}

let done = 0
let failure
try {
  for (const [command, prove] of steps) {
    process.stdout.write(`${String(done + 1).padStart(2)}  $ ${String(command)}\n`)
    process.stdout.write(`      ${String(prove())}\n`)
    done++
  }
} catch (error) {
  failure = error
} finally {
  spawnSync('gpgconf', ['--kill', 'all'], { env })
  rmSync(folder, { recursive: true, force: true })
}

if (failure !== undefined) {
  process.stderr.write(`\nstep ${done + 1} failed: ${failure.message}\n`)
  process.exitCode = 1
} else {
  const seconds = Math.round((performance.now() - begun) / 1000)
  const left = existsSync(folder) ? `${folder} left behind` : 'nothing left behind'
  process.stdout.write(`\n${done} of ${steps.length}, ${seconds} s, ${left}\n`)
}
