import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import { documentChecks, type DocumentReaders } from '../src/checks/documents.ts'
import { type CheckOptions, type CheckResult, type GivenKey, runChecks } from '../src/checks/run-checks.ts'
import { type RuleGroup, ruleGroups, type RuleId, ruleIds, rules, wantsGroup } from '../src/checks/rules.ts'
import { findTargets, type Targets } from '../src/checks/targets.ts'
import { nearest } from '../src/config/nearest.ts'
import { KvxError } from '../src/core/errors.ts'
import { groupId, userId } from '../src/platform/accounts.ts'
import { quotedPath } from '../src/platform/file-errors.ts'
import { putFile } from '../src/platform/put-file.ts'
import { readStdin } from '../src/platform/stdin.ts'
import { checkData, checkLines, countsText } from '../src/ui/check-view.ts'
import { manyArguments } from './_program/arguments.ts'
import { checkFlags } from './_program/check-flags.ts'
import { KvxCommand, type Outcome } from './_program/kvx-command.ts'

const maxInputBytes = 65_536

const framingProblems = {
  'not-openpgp': 'it is not an OpenPGP message',
  truncated: 'the OpenPGP message is cut off',
  'several-messages': 'more than one OpenPGP message lies in the file',
} as const

const ruleList = ruleGroups
  .map((group) => {
    const own = ruleIds.filter((rule) => rules[rule].group === group)
    return [`${group}:`, ...own.map((rule) => `  ${rule.padEnd(24)} ${rules[rule].finds}`)].join('\n')
  })
  .join('\n')

export default class Check extends KvxCommand {
  static override summary = 'Check keys and their files against rules.'
  static override description = [
    'Looks at keys, modes, owners, ACLs and directories, at kvx.yaml (*.yaml), at backups (*.asc, *.gpg, *.pgp) and their manifests, and says for each finding what mends it. A directory stands for the *.key and *.key.previous files and the backups in it. Writes nothing but a baseline, runs nothing that is named in a file, needs no configuration. Where the home of a kvx.yaml is at hand, it also says what of its policy is not kept now.',
    'With --recursive it looks through a whole tree, in a repository at what git tracks: key files, kvx.yaml, backups, and keys that lie open in env files, manifests of Kubernetes and Compose, and any other text. A key that lies in two environments is an error.',
    'Ends in 0 when there are no errors, in 3 when there are, in 2 when something named does not exist. git keeps neither modes nor ACLs: in CI, `--only format,config,manifest,ciphertext,secrets`.',
    `Rules by group:\n${ruleList}`,
  ].join('\n\n')
  static override examples = [
    {
      description: 'The keys of KVCrypt, whose readers are the group tk-readers',
      command: '<%= config.bin %> check /opt/coord/.sys --allow-reader tk-readers',
    },
    {
      description: 'A base64 key of 32 bytes in a variable',
      command: '<%= config.bin %> check --env LOCAL_KEK_BASE64 --encoding base64',
    },
    {
      description: 'A key from a program, and that it is the right one',
      command:
        'pass show kek | <%= config.bin %> check --stdin --expect-fingerprint 50a3461d7a131425b32fe7373b6f4cfd6b9dd4cfcd7f88d64f8ae35071af5522',
    },
    {
      description: 'A repository in CI: no modes, warnings count, a report for code scanning',
      command:
        '<%= config.bin %> check --recursive . --only format,config,manifest,ciphertext,secrets --fail-on warning --format sarif',
    },
    {
      description: 'Accept what is there today, and be told of what is new',
      command: '<%= config.bin %> check --recursive . --write-baseline kvx-baseline.json',
    },
    {
      description: 'The same afterwards, in CI',
      command: '<%= config.bin %> check --recursive . --baseline kvx-baseline.json',
    },
  ]
  static override strict = false
  static override args = {
    path: manyArguments({ description: 'key files, directories, kvx.yaml, backups', multiple: true }),
  }
  static override flags = checkFlags

  async run(): Promise<void> {
    const end = this.argv.indexOf('--')
    const words = end === -1 ? this.argv : this.argv.slice(0, end)
    const isJson = words.some(
      (word, at) => word === '--format=json' || (word === '--format' && words[at + 1] === 'json'),
    )
    if (isJson) this.argv.unshift('--json')
    await this.finish('kvx.check/1', async () => {
      const { argv, flags } = await this.parse(Check)
      const paths = argv as string[]
      requireInput(paths, flags)
      const options = await checkOptions(flags)
      const files = await filesOf(paths, flags)
      const result = await runChecks(files, await givenKeys(flags), options)
      const looked = result.checked.length + result.texts
      if (looked === 0 && result.findings.length === 0 && !flags.recursive) throw nothingToDo()
      requireOne(result, flags['expect-fingerprint'])
      const file = flags['write-baseline']
      if (file !== undefined) return writeBaseline(file, result, flags['dry-run'])
      return outcomeOf(result, flags, isJson ? this.argv.slice(1) : this.argv)
    })
  }
}

type CheckFlags = {
  readonly recursive: boolean
  readonly untracked: boolean
  readonly exclude: readonly string[] | undefined
  readonly baseline: string | undefined
  readonly format: 'human' | 'json' | 'sarif' | 'junit' | 'github'
  readonly 'fail-on': 'error' | 'warning'
  readonly only: readonly string[] | undefined
  readonly skip: readonly string[] | undefined
  readonly env: readonly string[] | undefined
  readonly stdin: boolean
  readonly encoding: CheckOptions['format']['encoding']
  readonly length: number
  readonly 'expect-fingerprint': string | undefined
  readonly 'allow-reader': readonly string[] | undefined
  readonly owner: string | undefined
}

function requireInput(paths: readonly string[], flags: CheckFlags): void {
  if (paths.length > 0 || flags.env !== undefined || flags.stdin) return
  throw new KvxError('USAGE', 'there is nothing to check', {
    hint: 'Name files or a directory: `kvx check /opt/coord/.sys`, a variable: `--env VAR`, or `--stdin`.',
  })
}

function nothingToDo(): KvxError {
  return new KvxError('USAGE', 'no chosen rule is about what was named', {
    hint: 'Choose other groups with --only: `kvx check --help` lists the rules of each.',
  })
}

async function filesOf(paths: readonly string[], flags: CheckFlags): Promise<Targets> {
  if (!flags.recursive) return findTargets(paths)
  const { findInTrees } = await import('../src/checks/scan/trees.ts')
  return findInTrees(paths, { untracked: flags.untracked, exclude: flags.exclude ?? [] })
}

async function checkOptions(flags: CheckFlags): Promise<CheckOptions> {
  const readers = flags['allow-reader'] && (await Promise.all(flags['allow-reader'].map(groupId)))
  const choice = {
    only: (flags.only ?? []).map((word) => oneOf<RuleGroup>(word, ruleGroups, 'group of rules')),
    skip: (flags.skip ?? []).map((word) => oneOf<RuleId>(word, ruleIds, 'rule')),
  }
  const expected = flags['expect-fingerprint']
  if (expected !== undefined && !wantsGroup(choice, 'format')) {
    throw new KvxError('USAGE', '--expect-fingerprint is a rule of the group format, which is not chosen', {
      hint: 'Add format to --only.',
    })
  }
  return {
    rules: choice,
    format: {
      encoding: flags.encoding,
      length: flags.length,
      expectFingerprint: expected === undefined ? undefined : parseFingerprint(expected),
    },
    files: { owner: flags.owner === undefined ? undefined : await userId(flags.owner), readers },
    documents: documentChecks(documentReaders),
  }
}

/** A check of keys alone, as in a start script, does not wait for what reads the other kinds of files. */
const documentReaders: DocumentReaders = {
  readConfig: async (path, bytes) => {
    const { parseConfig } = await import('../src/config/config.ts')
    const config = parseConfig(resolve(path), bytes)
    const { policyFaults } = await import('../src/config/policy-faults.ts')
    const { unkeptByHome } = await import('../src/migration/policy-kept.ts')
    const due = await unkeptByHome(config)
    return [
      ...policyFaults(config).map((fault) => ({ rule: 'POLICY_UNKEPT' as const, ...fault })),
      ...due.map(({ message, command }) => ({
        rule: 'POLICY_DUE' as const,
        message,
        remedy: `\`${command}\``,
      })),
    ]
  },
  readManifest: async (path, bytes) => {
    const { parseManifest } = await import('../src/backup/manifest.ts')
    return parseManifest(bytes, path).manifest
  },
  sha256: (bytes) => createHash('sha256').update(bytes).digest('hex'),
  messageProblem: async (bytes) => {
    const { readFraming } = await import('../src/backup/packets.ts')
    const { problem } = readFraming(bytes)
    return problem && framingProblems[problem]
  },
}

function oneOf<T extends string>(word: string, known: readonly T[], noun: string): T {
  const found = known.find((each) => each === word)
  if (found !== undefined) return found
  const meant = nearest(word, known)
  const shown = JSON.stringify(word.replace(/[^\x20-\x7e]/g, '?').slice(0, 40))
  throw new KvxError('USAGE', `there is no ${noun} ${shown}`, {
    hint: meant === undefined ? 'See `kvx check --help` for all of them.' : `Did you mean ${meant}?`,
  })
}

function parseFingerprint(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase()
  throw new KvxError('USAGE', 'a fingerprint has 64 hex digits', {
    hint: 'The check value (10 digits) finds slips alone: take the whole fingerprint from `kvx key show NAME`.',
  })
}

async function givenKeys(flags: CheckFlags): Promise<readonly GivenKey[]> {
  const given = (flags.env ?? []).map((name) => ({ shown: `env:${name}`, bytes: variable(name) }))
  if (flags.stdin) given.push({ shown: 'stdin', bytes: await readStdin(maxInputBytes) })
  return given
}

function variable(name: string): Buffer {
  // Who types `--env $KEK` gives the key itself: only what looks like a name is repeated.
  const isName = /^[A-Z_][A-Z0-9_]{0,63}$/i.test(name)
  const value = isName ? process.env[name] : undefined
  if (value !== undefined) return Buffer.from(value, 'utf8')
  const shown = /^[A-Z_][A-Z0-9_]{0,63}$/.test(name) ? `the variable ${name}` : 'the variable named by --env'
  throw new KvxError('USAGE', `${shown} is not set`, {
    hint: 'Give the name, not the value, and export it: `kvx check --env LOCAL_KEK_BASE64`.',
  })
}

function requireOne(result: CheckResult, expected: string | undefined): void {
  if (expected === undefined || result.checked.length === 1) return
  throw new KvxError(
    'USAGE',
    `--expect-fingerprint is about one key, and ${result.checked.length} are named`,
    {
      hint: 'Name the one file, variable or standard input that must hold it.',
    },
  )
}

/** Nobody reads a baseline whole: what it accepts is said as it is written. */
async function writeBaseline(file: string, result: CheckResult, isDryRun: boolean): Promise<Outcome> {
  const { encodeBaseline } = await import('../src/checks/baseline.ts')
  if (!isDryRun) await putFile(file, encodeBaseline(file, result.findings), readableByAll)
  const counts = countsText(result.findings)
  return {
    data: { ...checkData(result), baseline: file },
    lines: [
      ...checkLines(result, process.stdout),
      isDryRun ? `would write ${file}: ${counts}` : `wrote ${file}: ${counts} accepted from now on`,
      `Next: kvx check … --baseline ${quotedPath(file)}`,
    ],
  }
}

const readableByAll = 0o644

async function outcomeOf(all: CheckResult, flags: CheckFlags, argv: readonly string[]): Promise<Outcome> {
  const { result, accepted } = await withoutKnown(all, flags.baseline)
  const { findings } = result
  const fails = findings.some(({ severity }) => severity === 'error' || flags['fail-on'] === 'warning')
  const failure = new KvxError('FINDINGS', `the check found ${countsText(findings)}`, {
    hint: `Mend what is listed, then run it again: \`kvx check ${argv.map(quotedPath).join(' ')}\``,
  })
  return {
    data: checkData(result),
    lines: await linesOf(result, { format: flags.format, fails, accepted }),
    ...(fails ? { failure } : {}),
  }
}

async function withoutKnown(
  result: CheckResult,
  baseline: string | undefined,
): Promise<{ readonly result: CheckResult; readonly accepted: readonly string[] }> {
  if (baseline === undefined) return { result, accepted: [] }
  const { compareWithBaseline } = await import('../src/checks/baseline.ts')
  const { fresh, known, gone } = await compareWithBaseline(baseline, result.findings)
  const old = gone === 0 ? '' : `; ${gone} of its lines are mended: write it anew with --write-baseline`
  return {
    result: { ...result, findings: fresh },
    accepted: [`${known} ${known === 1 ? 'finding is' : 'findings are'} known by ${baseline}${old}`],
  }
}

type Screen = {
  readonly format: CheckFlags['format']
  readonly fails: boolean
  readonly accepted: readonly string[]
}

async function linesOf(result: CheckResult, { format, fails, accepted }: Screen): Promise<readonly string[]> {
  if (format === 'human' || format === 'json') {
    const file = result.checked.find(({ path, key }) => key !== undefined && path.includes('/'))?.path
    const [first] = result.findings
    const next = first === undefined ? importCommand(file) : first.remedy
    return [
      ...checkLines(result, process.stdout),
      ...accepted,
      ...(fails || next === undefined ? [] : [`Next: ${next}`]),
    ]
  }
  const forms = await import('../src/ui/check-formats.ts')
  if (format === 'github') return forms.github(result)
  return [format === 'sarif' ? forms.sarif(result) : forms.junit(result)]
}

function importCommand(file: string | undefined): string | undefined {
  return file === undefined ? undefined : `kvx key import NAME --from file:${quotedPath(file)}`
}
