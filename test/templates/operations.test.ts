import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { parseConfig } from '../../src/config/config.ts'
import { kvxBin } from '../support/cli.ts'
import { plainTwoLevels } from '../support/application.ts'
import { GpgHome } from '../support/gpg.ts'
import { needsTool } from '../support/needs.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

// Every rendered file is given to the program that reads it, where Debian has that program.
const gpg = new GpgHome()
let workspace: Workspace
const outside = mkdtempSync('/var/tmp/kvx-rendered-')

beforeAll(() => {
  const recipients = [gpg.makeKey('operator@example.org')]
  workspace = makeWorkspace({ shape: plainTwoLevels, rows: 20, gpg, recipients }).begin()
})
afterAll(() => {
  workspace.close()
  gpg.remove()
  rmSync(outside, { recursive: true, force: true })
})

function render(name: string, ...settings: string[]): string {
  const out = mkdtempSync(join(outside, `${name}-`))
  workspace.ok('template', 'render', name, '--out', out, ...settings.flatMap((one) => ['--set', one]))
  return out
}

function tool(
  program: string,
  args: readonly string[],
  cwd: string,
): { status: number | null; said: string } {
  const env = { ...workspace.env, PATH: process.env['PATH'] ?? '' }
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8', env })
  return { status, said: `${stdout}${stderr}` }
}

type Node = Record<string, unknown>

function documents(file: string): readonly Node[] {
  return parseAllDocuments(readFileSync(file, 'utf8')).map((document) => {
    expect(document.errors, file).toEqual([])
    return document.toJS() as Node
  })
}

describe('template systemd', () => {
  test('is what systemd-analyze verify takes, the drop-in with its unit too', (context) => {
    needsTool(context, 'systemd-analyze')
    const at = render('systemd', 'user=root', 'credential=/etc/hostname', 'textfiles=/var/tmp')
    writeFileSync(join(at, 'app.service'), '[Service]\nExecStart=/bin/true\n')
    for (const unit of ['kvx-due', 'kvx-metrics', 'kvx-verify']) {
      const { status, said } = tool(
        'systemd-analyze',
        ['verify', '--man=no', `./${unit}.service`, `./${unit}.timer`],
        at,
      )
      expect([status, said.split('\n').filter((line) => line.includes(at))]).toEqual([0, []])
    }
    const { status, said } = tool('systemd-analyze', ['verify', '--man=no', './app.service'], at)
    expect([status, said.split('\n').filter((line) => line.includes(at))]).toEqual([0, []])
  })

  test('is refused by systemd-analyze with a slip in it: the check above can fail', (context) => {
    needsTool(context, 'systemd-analyze')
    const at = render('systemd', 'user=root')
    const file = join(at, 'kvx-due.service')
    writeFileSync(file, readFileSync(file, 'utf8').replace('MemorySwapMax=0', 'MemorySwapMax=none at all'))
    expect(tool('systemd-analyze', ['verify', '--man=no', './kvx-due.service'], at).said).toContain(
      'Invalid memory limit',
    )
  })

  test('names commands that run as they stand', () => {
    const at = render('systemd', `textfiles=${outside}`)
    for (const [unit, exits] of [
      ['kvx-due', [0, 3]],
      ['kvx-metrics', [0]],
      ['kvx-verify', [0]],
    ] as const) {
      const text = readFileSync(join(at, `${unit}.service`), 'utf8')
      const line = /^ExecStart=(.*)$/m.exec(text)?.[1] ?? ''
      const [program = '', ...args] = line.split(' ')
      const { status, said } = tool(program, args, outside)
      expect(exits, said).toContain(status)
      expect(text).toMatch(/^MemorySwapMax=0$/m)
      expect(text).toMatch(/^LimitCORE=0$/m)
    }
    expect(readFileSync(join(outside, 'kvx.prom'), 'utf8')).toContain('kvx_key_seals{')
  })
})

describe('template prometheus', () => {
  test('is what promtool takes, and each alert fires on what it is for', (context) => {
    needsTool(context, 'promtool')
    const at = render('prometheus')
    const checked = tool('promtool', ['check', 'rules', 'kvx-rules.yml'], at)
    expect(checked.status, checked.said).toBe(0)
    expect(checked.said).toContain('12 rules found')
    const tested = tool('promtool', ['test', 'rules', 'kvx-rules-test.yml'], at)
    expect(tested.status, tested.said).toBe(0)
  })

  test('tests every alert but the one for whatever else is due', () => {
    const at = render('prometheus')
    const alerts = [...readFileSync(join(at, 'kvx-rules.yml'), 'utf8').matchAll(/alert: (\w+)/g)].map(
      ([, name]) => name ?? '',
    )
    const tested = readFileSync(join(at, 'kvx-rules-test.yml'), 'utf8')
    expect(alerts.filter((name) => !tested.includes(name))).toEqual(['KvxDue'])
  })

  test('has a dashboard whose expressions promtool takes, on names that kvx metrics has', (context) => {
    needsTool(context, 'promtool')
    const at = render('prometheus')
    type Dashboard = { panels: { title: string; targets: { expr: string }[] }[] }
    const { panels } = JSON.parse(readFileSync(join(at, 'kvx-dashboard.json'), 'utf8')) as Dashboard
    const expressions = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
    const rules = expressions.map((expr, index) => ({ record: `panel:${index}`, expr }))
    writeFileSync(join(at, 'panels.yml'), JSON.stringify({ groups: [{ name: 'panels', rules }] }))
    const { status, said } = tool('promtool', ['check', 'rules', 'panels.yml'], at)
    expect(status, said).toBe(0)
    const source = readFileSync(join(import.meta.dirname, '../../src/migration/metrics.ts'), 'utf8')
    const used =
      `${expressions.join('\n')}\n${readFileSync(join(at, 'kvx-rules.yml'), 'utf8')}`.match(/\bkvx_\w+/g) ??
      []
    expect(used.length).toBeGreaterThan(20)
    expect([...new Set(used)].filter((name) => !source.includes(`'${name}'`))).toEqual([])
  })
})

describe('template compose', () => {
  test('is a Compose file that docker-compose reads, and kvx fills its secrets', (context) => {
    needsTool(context, 'docker-compose')
    const at = render('compose', 'service=web')
    // The Compose of Debian 12 asks for a version, which newer ones call obsolete.
    const versioned = `version: "2.4"\n${readFileSync(join(at, 'compose.yaml'), 'utf8')}`
    writeFileSync(join(at, 'versioned.yaml'), versioned)
    const { status, said } = tool('docker-compose', ['-f', 'versioned.yaml', 'config'], at)
    expect(status, said).toBe(0)
    mkdirSync(join(at, 'secrets'), { mode: 0o711 })
    publishInto(at)
    expect(Buffer.from(readFileSync(join(at, 'secrets/kek'), 'utf8'), 'base64')).toHaveLength(32)
  })
})

/** A home of its own beside the rendered files, whose key is published as `kvx-publish.yaml` says. */
function publishInto(at: string): void {
  const text = readFileSync(join(at, 'kvx-publish.yaml'), 'utf8')
  parseConfig(join(at, 'kvx.yaml'), Buffer.from(text))
  const run = (...args: string[]): void => {
    const { status, said } = tool(kvxBin, [...args, '--no-input'], at)
    expect(status, said).toBe(0)
  }
  run('init')
  writeFileSync(join(at, 'kvx.yaml'), text, { mode: 0o600 })
  run('keygen', 'master')
}

describe('template kubernetes', () => {
  test('is YAML with the members that each kind asks for', () => {
    const at = render('kubernetes', 'name=shop', 'namespace=prod')
    const kinds = ['secret-once', 'secret-twice', 'deployment', 'cronjob'].flatMap((name) =>
      documents(join(at, `${name}.yaml`)),
    )
    expect(kinds.map(({ apiVersion, kind }) => `${String(apiVersion)} ${String(kind)}`)).toEqual([
      'v1 Secret',
      'v1 Secret',
      'apps/v1 Deployment',
      'batch/v1 CronJob',
    ])
    for (const { metadata } of kinds) expect((metadata as Node)['namespace']).toBe('prod')
    const [, , deployment] = kinds
    expect(JSON.stringify(deployment)).toContain('"secretKeyRef":{"name":"shop-kek","key":"APP_KEK"}')
  })

  test('holds the key in base64 once and twice when kvx has filled it, and kvx check finds it there', () => {
    const at = render('kubernetes')
    for (const name of ['secret-once', 'secret-twice']) chmodSync(join(at, `${name}.yaml`), 0o600)
    publishInto(at)
    const material = readFileSync(join(at, '.kvx/keys/master.v1.key'))
    const valueOf = (name: string, key: string): Buffer => {
      const [secret] = documents(join(at, `${name}.yaml`))
      const data = secret?.['data'] as Record<string, string> | undefined
      return Buffer.from(data?.[key] ?? '', 'base64')
    }
    expect(valueOf('secret-once', 'kek')).toEqual(material)
    expect(Buffer.from(valueOf('secret-twice', 'APP_KEK').toString('latin1'), 'base64')).toEqual(material)
    const { status, said } = tool(
      kvxBin,
      ['check', '--recursive', 'secret-once.yaml', 'secret-twice.yaml'],
      at,
    )
    expect(status).toBe(3)
    expect(said.match(/SECRET_IN_MANIFEST/g)).toHaveLength(2)
  })
})

describe('template ci', () => {
  /** What a job runs, in a repository with a key in it. */
  function runs(line: string, at: string): { status: number | null; said: string } {
    const bin = join(at, 'bin')
    mkdirSync(bin, { recursive: true })
    rmSync(join(bin, 'kvx'), { force: true })
    symlinkSync(kvxBin, join(bin, 'kvx'))
    const env = { PATH: `${bin}:${process.env['PATH'] ?? ''}`, HOME: at }
    const { status, stdout, stderr } = spawnSync('sh', ['-c', line], { cwd: at, encoding: 'utf8', env })
    return { status, said: stdout + stderr }
  }

  function repository(): string {
    const at = mkdtempSync(join(outside, 'repository-'))
    writeFileSync(
      join(at, 'old.env'),
      `KEK=${Buffer.from('0123456789abcdef0123456789abcdeX').toString('base64')}\n`,
    )
    const next = workspace.ok<{ files: unknown }>('template', 'render', 'ci', '--out', join(at, 'rendered'))
    expect(next.exit).toBe(0)
    const { status, said } = runs(
      'kvx check --recursive . --only format,config,manifest,ciphertext,secrets --write-baseline kvx-baseline.json',
      at,
    )
    expect(status, said).toBe(0)
    return at
  }

  test.each([
    [
      'github/kvx.yml',
      (node: Node) =>
        (node['jobs'] as { check: { steps: { run?: string }[] } }).check.steps
          .flatMap(({ run }) => run ?? [])
          .at(-1),
    ],
    ['gitlab/kvx.yml', (node: Node) => (node['kvx'] as { script: string[] }).script[0]],
    [
      'pre-commit-config.yaml',
      (node: Node) =>
        `${(node['repos'] as { hooks: { entry: string }[] }[])[0]?.hooks[0]?.entry ?? ''} old.env new.env`,
    ],
  ] as const)('%s runs a command that fails on a new key, and on nothing else', (name, lineOf) => {
    const at = repository()
    const [node] = documents(join(at, 'rendered', name))
    const line = lineOf(node ?? {}) ?? ''
    expect(line).toContain('kvx check --recursive')
    writeFileSync(join(at, 'new.env'), 'PORT=1\n')
    expect(runs(line, at)).toMatchObject({ status: 0 })
    writeFileSync(
      join(at, 'new.env'),
      `KEK=${Buffer.from('fedcba9876543210fedcba987654321X').toString('base64')}\n`,
    )
    expect(runs(line, at)).toMatchObject({ status: 3 })
  })

  test('pre-commit takes its file', (context) => {
    needsTool(context, 'pre-commit')
    const { status, said } = tool('pre-commit', ['validate-config', 'pre-commit-config.yaml'], render('ci'))
    expect(status, said).toBe(0)
  })
})

describe('template checklist', () => {
  test('counts what is open, with the reason, and ends in 0 when nothing is', () => {
    const copy = workspace.copy()
    try {
      const at = join(outside, 'checklist')
      const look = join(outside, 'look')
      mkdirSync(look)
      writeFileSync(
        join(look, 'first.env'),
        `KEK=${copy.publishedKey('current')?.toString('base64') ?? ''}\n`,
      )
      copy.ok(
        'template',
        'render',
        'checklist',
        '--out',
        at,
        '--set',
        `look=${look}`,
        '--set',
        'smoke=/bin/true',
      )
      const program = join(at, 'checklist.sh')
      const first = tool('sh', [program], at)
      expect(first.said).toContain('OPEN  a backup was opened, or confirmed by who can open it')
      expect(first.said).toContain('OPEN  no key was left lying in')
      expect(first.said).toContain('done  every record opens under the declared chain')
      expect(first.said).toContain(`open: ${first.status ?? 0}`)
      rmSync(join(look, 'first.env'))
      copy.ok('backup', 'create', 'master')
      copy.writeConfig(
        copy.configuration().replace('purpose: kek', 'purpose: kek\n    cryptoperiod: { seal: 90d }'),
      )
      const second = tool('sh', [program], at)
      expect([second.status, second.said.trim().split('\n').at(-1)], second.said).toEqual([
        0,
        'nothing is open',
      ])
    } finally {
      copy.close()
    }
  })
})
