import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { oneLevel, plainTwoLevels } from '../support/application.ts'
import { kvxBin } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'
import { Terminal } from '../support/terminal.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'
import { holdKeyGeneration, type People, stopCeremony } from './people.ts'
import { ceremony, ceremonyOf, memoryOf } from './places.ts'
import { newestSet, receiptOfShare, shareSets, typedShare } from './share-sets.ts'

/** How far the application of the documents has come when a line is typed. */
export type State =
  | 'bare'
  | 'keyless'
  | 'taken'
  | 'saved'
  | 'rotated'
  | 'moved'
  /** Values lie directly under the key, or were never sealed; a second version seals. */
  | 'direct'
  /** Three custodians are named, their shares dealt, all of them confirmed. */
  | 'appointed'
  | 'dealt'
  | 'shared'
  /** A ceremony that makes the first key is planned, was stopped, was held. */
  | 'planned'
  | 'stopped'
  | 'held'

const rows = 25
export const custodians = ['A. Boole', 'C. Dirac', 'E. Fermi'] as const

/** One application in each state, made once; every script of a page gets a copy. */
export class DocumentSites {
  readonly gpg = new GpgHome()
  readonly recipient = this.gpg.makeKey('operator <operator@example.org>')
  readonly custodians = custodians.map((name, at) => this.gpg.makeKey(`${name} <${at}@example.org>`))
  readonly #made = new Map<State, Workspace>()
  readonly #copies: Workspace[] = []

  async copy(state: State): Promise<Workspace> {
    const copy = (await this.#of(state)).copy()
    this.#copies.push(copy)
    return copy
  }

  async #of(state: State): Promise<Workspace> {
    const known = this.#made.get(state)
    if (known !== undefined) return known
    const made = await this.#make(state)
    this.#made.set(state, made)
    return made
  }

  async #make(state: State): Promise<Workspace> {
    const after = async (before: State, ...commands: readonly string[]): Promise<Workspace> => {
      const site = (await this.#of(before)).copy()
      for (const line of commands) site.ok(...line.split(' '))
      return site
    }
    const witness = `witness=E. Noether=${this.recipient}`
    const made: Readonly<Record<State, () => Workspace | Promise<Workspace>>> = {
      bare: () => this.#application(),
      keyless: async () => this.#withoutKey(await after('bare')),
      taken: async () => this.#taken(await after('bare')),
      saved: () => after('taken', 'backup create master'),
      rotated: () => after('saved', 'rotate master --offline --yes'),
      moved: () => after('rotated', 'rewrap --yes'),
      direct: () => this.#direct(),
      appointed: async () => this.#appointed(await after('taken')),
      dealt: () => after('appointed', 'backup split master'),
      shared: async () => this.#confirmed(await after('dealt')),
      planned: async () => {
        const site = this.#appointed(await after('keyless'))
        site.ok('ceremony', 'plan', 'key-generation', 'master', '--role', witness)
        return site
      },
      stopped: () => this.#ceremony(stopCeremony),
      held: () => this.#ceremony(holdKeyGeneration),
    }
    return await made[state]()
  }

  #taken(site: Workspace): Workspace {
    this.#init(site).ok('key', 'import', 'master')
    return site
  }

  /** The operator writes the fingerprint of the audit key on paper. */
  #init(site: Workspace): Workspace {
    const { data } = site.ok<{ auditFingerprint: string }>('init')
    writeFileSync(site.file('paper'), data.auditFingerprint)
    return site
  }

  /** An application without DEKs. */
  #direct(): Workspace {
    const site = this.#application(oneLevel).begin()
    site.ok('backup', 'create', 'master')
    site.ok('rotate', 'master', '--offline', '--yes')
    return site
  }

  #appointed(site: Workspace): Workspace {
    const people = custodians.map((name, at) => `{ name: ${name}, openpgp: ${this.custodians[at]} }`)
    const shares = `shares: { threshold: 2, of: 3, custodians: [${people.join(', ')}] }`
    site.writeConfig(site.configuration().replace(/recipients: \[\w+\]/, `$&, ${shares}`))
    return site
  }

  async #ceremony(people: People): Promise<Workspace> {
    const site = (await this.#of('planned')).copy()
    const run = named(site, this, `kvx ceremony run ${ceremony}`)
    await inTerminal(site, run, (terminal) => people(terminal, { site, sites: this }))
    return site
  }

  #confirmed(site: Workspace): Workspace {
    for (const { set } of shareSets(site.home)) {
      for (const index of [1, 2, 3]) {
        const receipt = this.receipt(site, index)
        site.ok('backup', 'confirm', set, '--index', String(index), '--receipt', receipt)
      }
    }
    return site
  }

  /** A share of the newest set of a home, as its custodian types it. */
  share(site: Workspace, index: number, home = site.home): string {
    return typedShare(this.gpg, newestSet(home), index)
  }

  receipt(site: Workspace, index: number, home = site.home): string {
    return receiptOfShare(this.gpg, newestSet(home), index)
  }

  #application(shape = plainTwoLevels): Workspace {
    const site = makeWorkspace({ shape, rows, recipients: [this.recipient], gpg: this.gpg })
    for (const folder of ['sys', 'vaults', 'elsewhere', 'etc']) mkdirSync(site.file(folder), { mode: 0o755 })
    const written = { mode: 0o600 }
    const key = site.firstKey.bytes
    writeFileSync(site.file('ready.yaml'), readFileSync(site.file('kvx.yaml')), written)
    writeFileSync(site.file('app.hex'), key.toString('hex'), written)
    for (const name of ['app.kek', 'old.kek']) writeFileSync(site.file(name), key.toString('base64'), written)
    for (const name of ['old.key', 'new.kek', '4.key'])
      writeFileSync(site.file(name), site.strangeKey().bytes.toString('base64'), written)
    const secret = Buffer.from(key.toString('base64')).toString('base64')
    const manifest = `apiVersion: v1\nkind: Secret\nmetadata: { name: app-kek }\ndata: { KEK: ${secret} }\n`
    writeFileSync(site.file('app-kek.yaml'), manifest, written)
    return site
  }

  /** The application before its first key: nothing is sealed, nothing published. */
  #withoutKey(site: Workspace): Workspace {
    writeFileSync(site.file('app.env'), 'PORT=8080\n', { mode: 0o600 })
    site.sql((database) => database.exec('DELETE FROM secrets'))
    return this.#init(site)
  }

  close(): void {
    this.gpg.remove()
    for (const site of [...this.#made.values(), ...this.#copies])
      for (const path of [site.path, memoryOf(site)]) rmSync(path, { recursive: true, force: true })
  }
}

export type Typed = { readonly status: number | null; readonly output: string }

function environment(site: Workspace): Record<string, string> {
  const PATH = [site.file('bin'), dirname(kvxBin), process.env['PATH'] ?? ''].join(':')
  const LOCAL_KEK_BASE64 = site.firstKey.bytes.toString('base64')
  return { ...site.env, PATH, LOCAL_KEK_BASE64, CREDENTIALS_DIRECTORY: site.path }
}

/** A pipe fails where one of its programs does. */
const shell = ['-o', 'pipefail', '-c'] as const

/** Types one line into a shell, in the folder of the application. */
export function type(site: Workspace, line: string): Typed {
  const { status, stdout, stderr } = spawnSync('bash', [...shell, line], {
    cwd: site.path,
    env: environment(site),
    input: '',
    encoding: 'utf8',
    timeout: 120_000,
  })
  return { status, output: `${stdout}${stderr}` }
}

/** The same in a pseudo-terminal, where people answer. */
export async function inTerminal(
  site: Workspace,
  line: string,
  people: (terminal: Terminal) => Promise<unknown>,
): Promise<Typed> {
  const options = { cwd: site.path, env: environment(site), program: 'bash' }
  const terminal = new Terminal([...shell, line], options)
  try {
    await people(terminal)
    const status = await terminal.ended()
    return { status, output: terminal.screen }
  } finally {
    terminal.close()
  }
}

/** What the documents write for a thing that has another name at each site. */
export function named(site: Workspace, sites: DocumentSites, line: string): string {
  const [backup = ''] = backupsOf(site).slice(-1)
  const id = /\.([0-9A-Z]{8})\.asc$/.exec(backup)?.[1] ?? ''
  const names: readonly (readonly [string | RegExp, () => string])[] = [
    ['/opt/coord/.sys', () => 'sys'],
    [
      /\/(usr|home)\/[\w/-]+\/(completions|site-functions)\/|~\/\.config\/fish\/completions\//,
      () => 'elsewhere/',
    ],
    [/\/mnt\/(offsite|backup|copy)/, () => 'elsewhere'],
    ['/etc/kvx/kvx.yaml', () => 'kvx.yaml'],
    [/\/etc\/app\/keys\/2\.key|\/srv\/app\/keys\/app\.key/, () => 'old.key'],
    [/\/etc\/rcrt\/|\/srv\/app\/|\/secure\//, () => ''],
    [/(?<=--(owner|group) )rcrt/, () => 'daemon'],
    [/20260101T000000Z-abc123/, () => runOf(site)],
    ['D2FF8AE2A19FE2B1C9B9D8A4B1B9B6E0C0FFEE00', () => sites.recipient],
    [/50a3461d[0-9a-f]*…?/, () => site.keyring().keys['master']?.versions['1']?.fingerprint ?? ''],
    [/(?<= )(\S*backups\/)?master\.v[12]\.(B7K2M9|7K3M9QZ2)\.asc/, () => backup],
    ['B7K2M9', () => id],
    ['/opt/coord/vaults', () => 'vaults'],
    ['/mnt/elsewhere', () => 'elsewhere'],
    ['/var/lib/prometheus/node-exporter', () => 'elsewhere'],
    ['/var/lib/kvx', () => '.kvx'],
    ['/etc/app.env#KEK', () => 'app.env#APP_KEK'],
    ['/etc/app/kek', () => 'app.hex'],
    ['/srv/k8s/app.yaml', () => 'app-kek.yaml'],
    ['/srv/k8s/', () => ''],
    ['/var/lib/app/keys/', () => ''],
    [/(?<= )ID\b/, () => runOf(site)],
    ...custodians.map((name, at) => [`${name}=FPR`, () => `${name}=${sites.custodians[at] ?? ''}`] as const),
    [/(?<=--sign )KEY\b/, () => sites.custodians[1] ?? ''],
    [/(?<=E\. Noether=)9D1C…/, () => sites.recipient],
    ['KVXDEM', () => shareSets(site.home)[0]?.set ?? ''],
    ['20QH-5MYA-NKS3-6YQF', () => sites.receipt(site, 2)],
    [/ceremony-20270131T090000Z-k3v9x0|(?<=kvx ceremony \w+ )DIR\b/, () => ceremonyOf(site)],
    ['42:0123…', () => site.ok<{ head: string }>('audit', 'verify').data.head],
    ['/dev/shm/me', () => memoryOf(site)],
    ['/dev/shm/shares', () => join(memoryOf(site), 'shares')],
    [/\/media\/(usb|safe|stick)/, () => 'elsewhere'],
    ['tk-readers', () => 'daemon'],
    [/7BF413FBB0AEABF11C81AC5408F3310BCE81EDEA|\bRECIPIENT\b/, () => sites.recipient],
    [/(?<= )(backups\/)?master\.v1\.53B7TXP8\.asc/, () => backup],
    ['53B7TXP8', () => id],
    ['20QH-UMYA-NKS3-6YQF', () => receiptOf(site)],
    ['AUDIT-FINGERPRINT', () => readFileSync(site.file('paper'), 'utf8')],
    ['FINGERPRINT', () => site.keyring().keys['master']?.versions['1']?.fingerprint ?? ''],
    [/\bTEXT\b/, () => '"a test"'],
  ]
  let text = line
  if (line.includes('/dev/shm/')) mkdirSync(memoryOf(site), { recursive: true, mode: 0o700 })
  for (const [word, name] of names) {
    if (typeof word === 'string' ? text.includes(word) : word.test(text))
      text = text.replaceAll(word instanceof RegExp ? new RegExp(word, 'g') : word, name())
  }
  return text
}

/** The newest run of the home. */
function runOf(site: Workspace): string {
  return site.json<{ runs: { id: string }[] }>('run', 'list').data.runs[0]?.id ?? ''
}

function backupsOf(site: Workspace): readonly string[] {
  const { status, output } = type(site, 'ls -tr .kvx/backups/*.asc')
  return status === 0 ? output.trim().split('\n') : []
}

/** The receipt in the newest backup of the home. */
export function receiptOf(site: Workspace): string {
  const [backup = ''] = backupsOf(site).slice(-1)
  const text = execFileSync('gpg', ['--batch', '--quiet', '--decrypt', backup], {
    cwd: site.path,
    env: { PATH: process.env['PATH'] ?? '', ...site.env },
    encoding: 'utf8',
  })
  return /^receipt: *(\S+)/m.exec(text)?.[1] ?? ''
}

/** At a terminal a person answers; here the flags of a script do. */
export function answered(line: string): string {
  return line.replace(/\bkvx ((?:[a-z-]+ ?)+)(?:"[^"]*"|[^|&>"])*/g, (command) => {
    const [, confirmed] = /kvx (?:retire|destroy|run forget) (\w+[@-]\w+)/.exec(command) ?? []
    const subject = confirmed ?? (/kvx restore --from gpg \S+$/.test(command.trim()) ? 'master@1' : undefined)
    const flag = subject === undefined ? '--yes' : `--confirm ${subject}`
    return command.includes(flag.split(' ')[0] ?? '') ? command : `${command.trimEnd()} ${flag} `
  })
}
