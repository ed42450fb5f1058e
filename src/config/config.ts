import { createHash } from 'node:crypto'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { isCollection, LineCounter, parseDocument, visit, type Document } from 'yaml'
import type { z } from 'zod'
import { KvxError } from '../core/errors.ts'
import { exists, readFileCapped } from '../platform/files.ts'
import { shownPath } from '../platform/file-errors.ts'
import { nearest } from './nearest.ts'
import {
  completeEnvelope,
  envelopeMembers,
  formMembers,
  sealedMembers,
  wrappedMembers,
  type EnvelopeConfig,
} from './envelopes.ts'
import type { AuditConfig, Policy } from './policy.ts'
import { kubernetesMembers, movePaths, placeOf, publisherMembers, slotsOf } from './publishers.ts'
import {
  configSchema,
  type ConfigFile,
  type KeyConfig,
  type MetricConfig,
  type VaultConfig,
} from './schema.ts'
import { locateStore, storeMembers, type StoreConfig } from './stores.ts'

/** The configuration of one command, frozen. Paths are absolute. */
export type Config = {
  /** The file that it came from. */
  readonly path: string
  readonly home: string
  /** Where the home came from, for messages: a flag, the file with its line, or the default. */
  readonly homeOrigin: string
  /** Where a copy of the keyring and of the encrypted backups goes after each change. */
  readonly homeBackup: string | undefined
  /** True: its keys protect nothing, and shares of them are marked. */
  readonly rehearsal: boolean
  readonly keys: Readonly<Record<string, KeyConfig>>
  readonly vaults: Readonly<Record<string, VaultConfig>>
  readonly stores: Readonly<Record<string, StoreConfig>>
  readonly envelopes: Readonly<Record<string, EnvelopeConfig>>
  /** Names of the site's own metrics, and what stands under them. */
  readonly metrics: Readonly<Record<string, MetricConfig>>
  readonly policy: Policy
  readonly audit: AuditConfig
  /** SHA-256 of the file's bytes, hex: a run remembers under which configuration it was planned. */
  readonly digest: string
  /** `kvx.yaml:6:5` of a member, or of the nearest parent that is written there. */
  where(path: readonly PropertyKey[]): string
}

/** What says where sealed values lie and under which keys. */
export type Declarations = Pick<Config, 'path' | 'keys' | 'stores' | 'envelopes' | 'where'>

const systemConfig = '/etc/kvx/kvx.yaml'
const maxConfigBytes = 1_048_576

export type ConfigOptions = { readonly config?: string | undefined; readonly home?: string | undefined }

/**
 * Finds, reads and checks the configuration: `--config`, `KVX_CONFIG`, `./kvx.yaml`, `/etc/kvx/kvx.yaml`.
 * @throws CONFIG_NOT_FOUND, CONFIG_INVALID with line and column, UNSAFE_MODE when others can write the file
 */
export async function loadConfig(options: ConfigOptions): Promise<Config> {
  const path = await findConfig(options.config)
  const { bytes, facts } = await readFileCapped(path, { maxBytes: maxConfigBytes, follow: true })
  if ((facts.mode & 0o022) !== 0) {
    throw new KvxError('UNSAFE_MODE', `the configuration ${path} can be written by others`, {
      hint: `Whoever writes it decides where keys go. Take the right away: \`chmod go-w ${path}\``,
    })
  }
  return parseConfig(path, bytes, options.home)
}

async function findConfig(named: string | undefined): Promise<string> {
  const wanted = named ?? process.env['KVX_CONFIG']
  if (wanted !== undefined && wanted !== '') {
    if (await exists(resolve(wanted))) return resolve(wanted)
    throw new KvxError('CONFIG_NOT_FOUND', `there is no configuration at ${resolve(wanted)}`, {
      hint: 'Name the file with `--config FILE`, or make one with `kvx init`.',
    })
  }
  for (const candidate of [resolve('kvx.yaml'), systemConfig]) if (await exists(candidate)) return candidate
  throw new KvxError('CONFIG_NOT_FOUND', `there is no kvx.yaml here and none at ${systemConfig}`, {
    hint: 'Make one with `kvx init`, or name it with `--config FILE`.',
  })
}

/** Exported for tests and for `init`, which reads back what it wrote. */
export function parseConfig(path: string, bytes: Buffer, home?: string): Config {
  const text = decodeText(path, bytes)
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    strict: true,
    uniqueKeys: true,
    version: '1.2',
    // A warning of the library would show what it read.
    logLevel: 'error',
  })
  const place = placer(path, document, lines)
  const [problem] = document.errors
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0])
    throw invalid(`${path}:${line}:${col}`, yamlProblem(problem.code))
  }
  refuseOddities(document, (at) => {
    const { line, col } = lines.linePos(at)
    return `${path}:${line}:${col}`
  })
  const parsed = configSchema.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {})
  if (!parsed.success) throw schemaError(parsed.error, place)
  return freeze(path, parsed.data, { home, place, digest: createHash('sha256').update(bytes).digest('hex') })
}

function decodeText(path: string, bytes: Buffer): string {
  if (bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    throw invalid(`${path}:1:1`, 'the file begins with a byte order mark; save it as UTF-8 without one')
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw invalid(path, 'the file is not UTF-8 text')
  }
}

/** A few aliases can stand for more than a memory holds; a mapping as a name would be shown as one. None is needed. */
function refuseOddities(document: Document, place: (offset: number) => string): void {
  visit(document, {
    Pair: (_, { key }) => {
      if (isCollection(key)) throw invalid(place(key.range?.[0] ?? 0), 'the name of a member is one word')
    },
    Alias: (_, { range }) => {
      throw invalid(place(range?.[0] ?? 0), 'an alias (*name) is not read here; write the value out')
    },
  })
}

function yamlProblem(code: string): string {
  if (code === 'DUPLICATE_KEY') return 'the same name stands twice in one mapping'
  return `not valid YAML (${code.toLowerCase().replaceAll('_', ' ')})`
}

function placer(
  path: string,
  document: Document,
  lines: LineCounter,
): (at: readonly PropertyKey[]) => string {
  return (at) => {
    for (let depth = at.length; depth > 0; depth--) {
      const node: unknown = document.getIn(at.slice(0, depth), true)
      const range = (node as { range?: readonly number[] } | undefined)?.range
      if (range?.[0] === undefined) continue
      const { line, col } = lines.linePos(range[0])
      return `${path}:${line}:${col}`
    }
    return path
  }
}

function schemaError(error: z.ZodError, place: (at: readonly PropertyKey[]) => string): KvxError {
  const issue = deepest(error.issues)
  const at = shownPath(issue.path.map(String).join('.'))
  if (issue.code === 'unrecognized_keys') {
    const [unknown = ''] = issue.keys
    const meant = nearest(
      unknown,
      memberNames(issue.path).filter((member) => member !== unknown),
    )
    const what = at === '' ? 'the file' : at
    return invalid(
      place([...issue.path, unknown]),
      `${what} has no member ${JSON.stringify(unknown)}${meant === undefined ? '' : `; did you mean ${JSON.stringify(meant)}?`}`,
    )
  }
  return invalid(place(issue.path), `${at === '' ? 'the file' : at}: ${issue.message.toLowerCase()}`)
}

type Issue = z.core.$ZodIssue

/** Of a union's alternatives, the complaint of the one that came furthest tells most. */
function deepest(issues: readonly Issue[]): Issue {
  const [first] = issues
  if (first === undefined) throw new TypeError('a failed parse has an issue')
  if (first.code !== 'invalid_union') return first
  const branches = first.errors.map((errors) => [...errors]).filter((errors) => errors.length > 0)
  const [best] = branches.sort((a, b) => mistakes(a) - mistakes(b))
  if (best === undefined) return first
  const misspelt = best.find(({ code }) => code === 'unrecognized_keys')
  const inner = misspelt ?? deepest(best)
  return { ...inner, path: [...first.path, ...inner.path] }
}

/** An alternative of another type altogether is none that was meant. */
function mistakes(issues: readonly Issue[]): number {
  if (issues.some(({ code, path }) => code === 'invalid_type' && path.length === 0)) return 1000
  return issues.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0)
}

const members: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^$/, 'kvx home home-backup rehearsal keys vaults stores envelopes metrics policy audit'.split(' ')],
  [/^keys\.[^.]+$/, ['purpose', 'derive', 'make', 'publish', 'backup', 'cryptoperiod']],
  [/^keys\.[^.]+\.publish\.\d+$/, publisherMembers],
  [/^keys\.[^.]+\.publish\.\d+\.kubernetes-secret$/, kubernetesMembers],
  [/^keys\.[^.]+\.backup$/, ['recipients', 'shares']],
  [/^keys\.[^.]+\.backup\.shares$/, ['threshold', 'of', 'custodians']],
  [/^keys\.[^.]+\.backup\.shares\.custodians\.\d+$/, ['name', 'openpgp', 'ssh', 'deliver']],
  [/^keys\.[^.]+\.backup\.shares\.custodians\.\d+\.deliver$/, ['command', 'env']],
  [/^vaults\.[^.]+$/, ['directory', 'key']],
  [/^metrics\.[^.]+$/, ['configured', 'failures']],
  [/^stores\.[^.]+$/, storeMembers],
  [/^keys\.[^.]+\.cryptoperiod$/, ['seal', 'open', 'values']],
  [/^policy$/, ['approvals', 'backups', 'drill']],
  [/^policy\.approvals$/, ['required', 'for', 'approvers', 'expires']],
  [/^policy\.approvals\.approvers\.\d+$/, ['name', 'openpgp', 'key-file', 'ssh', 'until']],
  [/^audit$/, ['sink']],
  [/^audit\.sink$/, ['syslog', 'command']],
  [/^keys\.[^.]+\.make$/, ['bytes', 'characters']],
  [/^envelopes\..+\.version$/, ['column', 'layout', 'names', 'keyid']],
  [/^envelopes\..+\.to$/, formMembers],
  [/^envelopes\..+\.(dek|kek)$/, wrappedMembers],
  [/^envelopes\..+\.(value|value\.\d+)$/, sealedMembers],
  [/^envelopes\..+$/, envelopeMembers],
]

function memberNames(path: readonly PropertyKey[]): readonly string[] {
  const at = shownPath(path.map(String).join('.'))
  return members.find(([shape]) => shape.test(at))?.[1] ?? []
}

function invalid(place: string, what: string): KvxError {
  return new KvxError('CONFIG_INVALID', `${place}: ${what}`, {
    hint: 'Mend the place and run the command again; `docs/configuration.md` shows every member.',
  })
}

function freeze(
  path: string,
  file: ConfigFile,
  facts: {
    readonly home: string | undefined
    readonly place: (at: readonly PropertyKey[]) => string
    readonly digest: string
  },
): Config {
  const folder = dirname(path)
  const absolute = (name: string): string => (isAbsolute(name) ? name : join(folder, name))
  const home = chooseHome(path, file.home, facts)
  const stores = Object.fromEntries(
    Object.entries(file.stores).map(([name, store]) => [name, locateStore(store, absolute)]),
  )
  checkReferences(file, facts.place)
  const config: Config = {
    path,
    ...home,
    rehearsal: file.rehearsal === true,
    homeBackup: file['home-backup'] === undefined ? undefined : absolute(file['home-backup']),
    keys: Object.fromEntries(
      Object.entries(file.keys).map(([name, key]) => [
        name,
        { ...key, publish: key.publish.map((place) => movePaths(placeOf(place), absolute)) },
      ]),
    ),
    vaults: Object.fromEntries(
      Object.entries(file.vaults).map(([name, vault]) => [
        name,
        { ...vault, directory: absolute(vault.directory) },
      ]),
    ),
    stores,
    envelopes: Object.fromEntries(
      Object.entries(file.envelopes).map(([name, envelope]) => [
        name,
        completed(envelope, stores[envelope.store], (member) => facts.place(['envelopes', name, member])),
      ]),
    ),
    metrics: file.metrics,
    policy: locatedPolicy(file.policy, absolute),
    audit: file.audit,
    digest: facts.digest,
    where: facts.place,
  }
  refuseSharedSlots(config)
  return Object.freeze(config)
}

/** @throws CONFIG_INVALID where one slot would hold two keys, or both versions of one */
function refuseSharedSlots(config: Config): void {
  const taken = new Map<string, string>()
  for (const [name, { publish }] of Object.entries(config.keys)) {
    for (const [index, place] of publish.entries()) {
      const own = `keys.${name}.publish.${index}`
      for (const slot of slotsOf(place)) {
        const other = taken.get(slot)
        if (other !== undefined) {
          const who = other === own ? 'both of its slots are' : `${other} has`
          throw invalid(
            config.where(['keys', name, 'publish', index]),
            `${own}: ${who} ${shownPath(slot)}, which can hold one key`,
          )
        }
        taken.set(slot, own)
      }
    }
  }
}

function completed(
  envelope: ConfigFile['envelopes'][string],
  store: StoreConfig | undefined,
  where: (member: string) => string,
): EnvelopeConfig {
  if (store === undefined) throw new TypeError('references were checked')
  const complete = completeEnvelope(envelope, store)
  if (typeof complete !== 'string') return complete
  throw invalid(where(complete), `the envelope has no member "${complete}", which a store of tables needs`)
}

function locatedPolicy(policy: Policy, absolute: (name: string) => string): Policy {
  const { approvals } = policy
  if (approvals === undefined) return policy
  const approvers = approvals.approvers.map((one) => {
    const file = 'openpgp' in one ? one['key-file'] : undefined
    return file === undefined ? one : { ...one, 'key-file': absolute(file) }
  })
  return { ...policy, approvals: { ...approvals, approvers } }
}

function chooseHome(
  path: string,
  written: string | undefined,
  facts: { readonly home: string | undefined; readonly place: (at: readonly PropertyKey[]) => string },
): { readonly home: string; readonly homeOrigin: string } {
  const folder = dirname(path)
  if (facts.home !== undefined) return { home: resolve(facts.home), homeOrigin: '--home' }
  if (written !== undefined) return { home: resolve(folder, written), homeOrigin: facts.place(['home']) }
  const home = path === systemConfig ? '/var/lib/kvx' : join(folder, '.kvx')
  return { home, homeOrigin: 'the default' }
}

/** Names that point nowhere are mistakes of the file, found before anything runs. */
function checkReferences(file: ConfigFile, place: (at: readonly PropertyKey[]) => string): void {
  for (const [name, envelope] of Object.entries(file.envelopes)) {
    for (const [member, known] of [
      ['store', file.stores],
      ['key', file.keys],
    ] as const) {
      const wanted = envelope[member]
      if (Object.hasOwn(known, wanted)) continue
      throw unknownName(place, ['envelopes', name, member], {
        what: member,
        wanted,
        known: Object.keys(known),
      })
    }
  }
  for (const [name, metric] of Object.entries(file.metrics)) {
    const [member, wanted, known] =
      'configured' in metric
        ? ['configured', metric.configured, file.keys]
        : ['failures', metric.failures, file.envelopes]
    if (Object.hasOwn(known, wanted)) continue
    const what = member === 'configured' ? 'key' : 'envelope'
    throw unknownName(place, ['metrics', name, member], { what, wanted, known: Object.keys(known) })
  }
  for (const [name, { key }] of Object.entries(file.vaults)) {
    const purpose = Object.hasOwn(file.keys, key) ? file.keys[key]?.purpose : undefined
    if (purpose === undefined) {
      throw unknownName(place, ['vaults', name, 'key'], {
        what: 'key',
        wanted: key,
        known: Object.keys(file.keys),
      })
    }
    if (purpose !== 'vault') {
      const what = `vaults.${name}.key: ${key} has the purpose ${purpose}, and a vault takes a key of purpose vault`
      throw invalid(place(['vaults', name, 'key']), what)
    }
    if (Object.hasOwn(file.envelopes, name)) {
      const what = `vaults.${name}: an envelope has that name too, and commands take either by its name`
      throw invalid(place(['vaults', name]), what)
    }
  }
}

function unknownName(
  place: (at: readonly PropertyKey[]) => string,
  at: readonly string[],
  {
    what,
    wanted,
    known,
  }: { readonly what: string; readonly wanted: string; readonly known: readonly string[] },
): KvxError {
  const meant = nearest(wanted, known)
  const guess = meant === undefined ? '' : `; did you mean ${JSON.stringify(meant)}?`
  return invalid(place(at), `${at.join('.')}: there is no ${what} ${JSON.stringify(wanted)}${guess}`)
}
