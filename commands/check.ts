import { createHash } from 'node:crypto'
import { Flags } from '@oclif/core'
import { documentChecks, type DocumentReaders } from '../src/checks/documents.ts'
import { type CheckOptions, type CheckResult, type GivenKey, runChecks } from '../src/checks/run-checks.ts'
import { type RuleGroup, ruleGroups, type RuleId, ruleIds, rules, wantsGroup } from '../src/checks/rules.ts'
import { findTargets } from '../src/checks/targets.ts'
import { nearest } from '../src/config/nearest.ts'
import { KvxError } from '../src/core/errors.ts'
import { keyEncodings } from '../src/core/key-encoding.ts'
import { groupId, userId } from '../src/platform/accounts.ts'
import { quotedPath } from '../src/platform/file-errors.ts'
import { readStdin } from '../src/platform/stdin.ts'
import { checkData, checkLines, countsText } from '../src/ui/check-view.ts'
import { manyArguments } from './_program/arguments.ts'
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
    'Looks at keys, modes, owners, ACLs and directories, at kvx.yaml (*.yaml), at backups (*.asc, *.gpg, *.pgp) and their manifests, and says for each finding what mends it. A directory stands for the *.key and *.key.previous files and the backups in it. Writes nothing, runs nothing that is named in a file, needs no configuration.',
    'Ends in 0 when there are no errors, in 3 when there are, in 2 when something named does not exist. git keeps neither modes nor ACLs: in CI, `--only format,config,manifest,ciphertext`.',
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
      description: 'In CI: no modes, warnings count, JSON for a program',
      command:
        '<%= config.bin %> check deploy/keys kvx.yaml --only format,config --fail-on warning --format json',
    },
  ]
  static override strict = false
  static override args = {
    path: manyArguments({ description: 'key files, directories, kvx.yaml, backups', multiple: true }),
  }
  static override flags = {
    only: Flags.string({
      description: `groups of rules to apply: ${ruleGroups.join(', ')}`,
      helpValue: 'GROUPS',
      multiple: true,
      multipleNonGreedy: true,
      delimiter: ',' as const,
      helpGroup: 'RULES',
    }),
    skip: Flags.string({
      description: 'a rule to leave out; more with commas or more than once',
      helpValue: 'RULE',
      multiple: true,
      multipleNonGreedy: true,
      delimiter: ',' as const,
      helpGroup: 'RULES',
    }),
    'fail-on': Flags.option({
      description: 'what ends in exit 3',
      options: ['error', 'warning'] as const,
      default: 'error' as const,
      helpGroup: 'RULES',
    })(),
    env: Flags.string({
      description: 'a variable of the environment that holds a key; can be given more than once',
      helpValue: 'VAR',
      multiple: true,
      multipleNonGreedy: true,
      helpGroup: 'KEYS',
    }),
    stdin: Flags.boolean({ description: 'a key on standard input', helpGroup: 'KEYS' }),
    encoding: Flags.option({
      description: 'how the application reads its keys (default: found out from the bytes)',
      options: keyEncodings,
      helpGroup: 'KEYS',
    })(),
    length: Flags.integer({
      description: 'bytes that a key must have',
      default: 32,
      min: 16,
      max: 1024,
      helpValue: 'BYTES',
      helpGroup: 'KEYS',
    }),
    'expect-fingerprint': Flags.string({
      description: 'the fingerprint that the one key must have (64 hex digits)',
      helpValue: 'FINGERPRINT',
      helpGroup: 'KEYS',
    }),
    'allow-reader': Flags.string({
      description: 'a group that may read; others are then errors. Can be given more than once',
      helpValue: 'GROUP',
      multiple: true,
      multipleNonGreedy: true,
      helpGroup: 'FILES',
    }),
    owner: Flags.string({
      description: 'the user who owns the keys (default: root, or who runs kvx)',
      helpValue: 'USER',
      helpGroup: 'FILES',
    }),
    format: Flags.option({
      description: 'json is the same as --json',
      options: ['human', 'json'] as const,
      default: 'human' as const,
    })(),
  }

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
      const files = await findTargets(paths)
      const result = await runChecks(files, await givenKeys(flags), options)
      if (result.checked.length === 0 && result.findings.length === 0) throw nothingToDo()
      requireOne(result, flags['expect-fingerprint'])
      return outcomeOf(result, flags['fail-on'], isJson ? this.argv.slice(1) : this.argv)
    })
  }
}

type CheckFlags = {
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
    parseConfig(path, bytes)
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

function outcomeOf(result: CheckResult, failOn: 'error' | 'warning', argv: readonly string[]): Outcome {
  const { findings, checked } = result
  const fails = findings.some(({ severity }) => severity === 'error' || failOn === 'warning')
  const failure = new KvxError('FINDINGS', `the check found ${countsText(findings)}`, {
    hint: `Mend what is listed, then run it again: \`kvx check ${argv.map(quotedPath).join(' ')}\``,
  })
  const file = checked.find(({ path, key }) => key !== undefined && path.includes('/'))?.path
  const [first] = findings
  const next = first === undefined ? importCommand(file) : first.remedy
  return {
    data: checkData(result),
    lines: [...checkLines(result, process.stdout), ...(fails || next === undefined ? [] : [`Next: ${next}`])],
    ...(fails ? { failure } : {}),
  }
}

function importCommand(file: string | undefined): string | undefined {
  return file === undefined ? undefined : `kvx key import NAME --from file:${quotedPath(file)}`
}
