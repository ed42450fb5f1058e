import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { plainTwoLevels } from '../support/application.ts'
import { kvxBin } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

/** How far the application of the documents has come when a line is typed. */
export type State = 'bare' | 'keyless' | 'taken' | 'saved' | 'rotated' | 'moved'

const rows = 25

/** One application in each state, made once; every script of a page gets a copy. */
export class DocumentSites {
  readonly gpg = new GpgHome()
  readonly recipient = this.gpg.makeKey('operator <operator@example.org>')
  /** Two more people, with keys of their own. */
  readonly others = ['a', 'b'].map((name) => this.gpg.makeKey(`${name} <${name}@example.org>`))
  /** What the operator wrote on paper when the home was made. */
  auditFingerprint = ''
  readonly #made = new Map<State, Workspace>()
  readonly #copies: Workspace[] = []

  copy(state: State): Workspace {
    const copy = this.#of(state).copy()
    this.#copies.push(copy)
    return copy
  }

  #of(state: State): Workspace {
    const known = this.#made.get(state)
    if (known !== undefined) return known
    const made = this.#make(state)
    this.#made.set(state, made)
    return made
  }

  #make(state: State): Workspace {
    const after = (before: State, ...commands: readonly string[]): Workspace => {
      const site = this.#of(before).copy()
      for (const line of commands) site.ok(...line.split(' '))
      return site
    }
    const made: Readonly<Record<State, () => Workspace>> = {
      bare: () => this.#application(),
      keyless: () => this.#withoutKey(),
      taken: () => this.#taken(),
      saved: () => after('taken', 'backup create master'),
      rotated: () => after('saved', 'rotate master --offline --yes'),
      moved: () => after('rotated', 'rewrap --yes'),
    }
    return made[state]()
  }

  #taken(): Workspace {
    const site = this.#of('bare').copy()
    this.auditFingerprint = site.ok<{ auditFingerprint: string }>('init').data.auditFingerprint
    site.ok('key', 'import', 'master')
    return site
  }

  #application(): Workspace {
    const site = makeWorkspace({ shape: plainTwoLevels, rows, recipients: [this.recipient], gpg: this.gpg })
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
  #withoutKey(): Workspace {
    const site = this.#of('bare').copy()
    writeFileSync(site.file('app.env'), 'PORT=8080\n', { mode: 0o600 })
    site.sql((database) => database.exec('DELETE FROM secrets'))
    site.ok('init')
    return site
  }

  close(): void {
    this.gpg.remove()
    for (const site of [...this.#made.values(), ...this.#copies])
      rmSync(site.path, { recursive: true, force: true })
  }
}

export type Typed = { readonly status: number | null; readonly output: string }

/** Types one line into a shell, in the folder of the application. */
export function type(site: Workspace, line: string): Typed {
  const PATH = `${dirname(kvxBin)}:${process.env['PATH'] ?? ''}`
  const more = { CREDENTIALS_DIRECTORY: site.path, LOCAL_KEK_BASE64: site.firstKey.bytes.toString('base64') }
  const { status, stdout, stderr } = spawnSync('sh', ['-c', line], {
    cwd: site.path,
    env: { PATH, ...site.env, ...more },
    input: '',
    encoding: 'utf8',
  })
  return { status, output: `${stdout}${stderr}` }
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
    [/\/mnt\/(offsite|backup)/, () => 'elsewhere'],
    ['/etc/kvx/kvx.yaml', () => 'kvx.yaml'],
    [/\/etc\/app\/keys\/2\.key|\/srv\/app\/keys\/app\.key/, () => 'old.key'],
    [/\/etc\/rcrt\/|\/srv\/app\/|\/root\/(?=tk\.json)/, () => ''],
    [/(?<=--(owner|group) )rcrt/, () => 'daemon'],
    [/20260101T000000Z-abc123/, () => runOf(site)],
    ['D2FF8AE2A19FE2B1C9B9D8A4B1B9B6E0C0FFEE00', () => sites.recipient],
    [/50a3461d[0-9a-f]*…?/, () => site.keyring().keys['master']?.versions['1']?.fingerprint ?? ''],
    [/(?<= )(\S*backups\/)?master\.v[12]\.(B7K2M9|7K3M9QZ2)\.asc/, () => backup],
    ['B7K2M9', () => id],
    ['/opt/coord/vaults', () => 'vaults'],
    ['/mnt/elsewhere', () => 'elsewhere'],
    ['/media/safe', () => 'elsewhere'],
    ['/var/lib/prometheus/node-exporter', () => 'elsewhere'],
    ['/var/lib/kvx', () => '.kvx'],
    ['/etc/app.env#KEK', () => 'app.env#APP_KEK'],
    ['/etc/app/kek', () => 'app.hex'],
    ['/root/old.key', () => 'old.key'],
    ['/srv/k8s/app.yaml', () => 'app-kek.yaml'],
    ['/srv/k8s/', () => ''],
    ['/var/lib/app/keys/', () => ''],
    [/(?<= )ID\b/, () => runOf(site)],
    ['A. Boole=FPR', () => `A. Boole=${sites.recipient}`],
    ['C. Dirac=FPR', () => `C. Dirac=${sites.others[0]}`],
    ['E. Fermi=FPR', () => `E. Fermi=${sites.others[1]}`],
    ['tk-readers', () => 'daemon'],
    [/7BF413FBB0AEABF11C81AC5408F3310BCE81EDEA|\bRECIPIENT\b/, () => sites.recipient],
    [/(?<= )(backups\/)?master\.v1\.53B7TXP8\.asc/, () => backup],
    ['53B7TXP8', () => id],
    ['20QH-UMYA-NKS3-6YQF', () => receiptOf(site, backup)],
    ['AUDIT-FINGERPRINT', () => sites.auditFingerprint],
    ['FINGERPRINT', () => site.keyring().keys['master']?.versions['1']?.fingerprint ?? ''],
    [/\bTEXT\b/, () => '"a test"'],
  ]
  let text = line
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

function receiptOf(site: Workspace, backup: string): string {
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
