/**
 * Tries a command with a fault at each of its mutating calls. After each one the state is looked at, a person's next
 * command is given, and everything must be as if nothing had happened.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, statSync } from 'node:fs'
import {
  type Before,
  expectLogFirst,
  expectNarrow,
  expectNoSecret,
  hasBegun,
  logOf,
  remember,
} from './laws.ts'
import { type Act, type Armed, type Call, runShimmed, type Shimmed } from './shim.ts'
import type { Site } from './site.ts'
import { canStayWarm } from './warm.ts'

export type Store = 'home' | 'SQLite' | 'directory' | 'PostgreSQL' | 'vault'

export type Scenario<S extends Site = Site> = {
  /** The command, as the table shows it. */
  readonly title: string
  readonly store: Store
  /** The state before the command. */
  readonly make: () => Promise<S>
  readonly args: (site: S) => readonly string[]
  readonly input?: (site: S) => string
  /** What holds when it was done. */
  readonly done: (site: S) => void | Promise<void>
  /** What holds where nothing was begun. */
  readonly old?: (site: S) => void | Promise<void>
  /** What holds after a rollback. Without it there is nothing to roll back. */
  readonly back?: (site: S) => void | Promise<void>
  /** What holds at every instant, besides that the keyring is whole and every record opens. */
  readonly always?: (site: S) => void | Promise<void>
  /** Codes by which the same command says that it was done already. */
  readonly already?: readonly string[]
  /** It ends an open run itself: after a fault the same command goes on with it. */
  readonly again?: true
}

/** Faults by the name that the table shows. */
export const faults: Readonly<Record<string, Act>> = {
  killed: 'kill',
  EIO: '5',
  ENOSPC: '28',
  'ENOSPC from then on': 'full',
  EDQUOT: '122',
  'EROFS from then on': 'rofs',
  'short write': 'short',
  'short write, then full': 'short-full',
  'connection cut': 'cut',
  'connection reset': '104',
  SIGINT: 'sig2',
  SIGTERM: 'sig15',
  SIGHUP: 'sig1',
  'EPIPE from then on': 'epipe',
}

export type Row = {
  readonly command: string
  readonly store: Store
  readonly fault: string
  /** Calls at which this fault can happen. */
  readonly points: number
  tried: number
  /** The old state was there, and the same command then succeeded. */
  old: number
  done: number
  resumed: number
  rolledBack: number
  /** Of those, where the recovery was killed too. */
  again: number
  readonly bad: string[]
}

export type Limits = {
  /** At most so many points, spread over all; all of them without it. */
  readonly most?: number
  /** Of so many equal parts of all points only this one, from 0 on: as many runs try every point once. */
  readonly part?: { readonly at: number; readonly of: number }
  /** No new point is begun after this time of `performance.now()`, but for the first few. */
  readonly until?: number
  /** Only these faults. */
  readonly only?: readonly string[]
  /** Of what happens outside of kvx, signals and lost readers, one point in so many; all of them without it. */
  readonly outside?: number
}

/** So many points a lane, whatever time they take: no command goes without. */
const fewest = 4

/** Makes sites of the command, kept as they are before it, and closes them in the end. */
export async function withSites<T>(
  scenario: Scenario,
  count: number,
  work: (sites: readonly Site[]) => Promise<T>,
): Promise<T> {
  const sites: Site[] = []
  const one = async (): Promise<void> => {
    const site = await scenario.make()
    sites.push(site)
    await site.keep()
  }
  try {
    await Promise.all(Array.from({ length: count }, one))
    return await work(sites)
  } finally {
    for (const site of sites) await site.close()
  }
}

/** Tries one command at its points, side by side on several sites. */
export async function tryScenario(
  scenario: Scenario,
  sites: readonly Site[],
  limits: Limits,
): Promise<readonly Row[]> {
  let rows: Row[] | undefined
  const lane = async (site: Site, index: number): Promise<void> => {
    await site.reset()
    const calls = await learnAll(scenario, site)
    rows ??= rowsOf(scenario, calls, limits)
    // The calls of two sites are not quite the same: each has its own list, and takes its share of it.
    const jobs = orderedJobs(rows, calls, limits)
      .slice(0, limits.most)
      .filter((_, turn) => limits.part === undefined || turn % limits.part.of === limits.part.at)
      .filter((_, turn) => turn % sites.length === index)
    await site.reset()
    const before = remember(site)
    for (const [turn, job] of jobs.entries()) {
      if (turn >= fewest && limits.until !== undefined && performance.now() > limits.until) return
      await tryPoint(scenario, site, before, job)
    }
  }
  await Promise.all(sites.map(lane))
  return rows ?? []
}

/** The calls of a command that has a process of its own, and those of one that goes on in another's. */
type Calls = (act: Act) => readonly Call[]

async function learnAll(scenario: Scenario, site: Site): Promise<Calls> {
  const input = scenario.input?.(site)
  const alone = await learn(scenario, site, async (args) =>
    runShimmed(site, args, { record: 'calls', input }),
  )
  await site.reset()
  const warm = await learn(scenario, site, async (args) => site.give(args, { record: 'calls', input }))
  return (act) => (canStayWarm({ armed: { at: 1, act }, input }) ? warm : alone)
}

/** Runs it once without harm, and lists its calls. */
async function learn(
  scenario: Scenario,
  site: Site,
  run: (args: readonly string[]) => Promise<Shimmed>,
): Promise<readonly Call[]> {
  const { exit, stderr, stdout, calls } = await run(scenario.args(site))
  if (exit !== 0)
    throw new Error(`${scenario.title} ended with ${exit} without any fault: ${stderr}${stdout}`)
  await scenario.done(site)
  expectNarrow(calls)
  return calls
}

type Point = Call & { readonly isMinded: boolean }
type Job = { readonly armed: Armed; readonly call: Point; readonly row: Row; readonly turn: number }

/** SQLite itself does not look at what the sync of the directory gave in which it made its rollback journal. */
function pointOf(call: Call, index: number, calls: readonly Call[]): Point {
  const before = calls[index - 1]
  const ofJournal = before?.kind === 'fsync' && before.path.endsWith('-journal')
  return { ...call, isMinded: !(ofJournal && before.path.startsWith(`${call.path}/`)) }
}

function pointAt(calls: readonly Call[], at: number): Point | undefined {
  const index = calls.findIndex(({ n }) => n === at)
  const call = calls[index]
  return call === undefined ? undefined : pointOf(call, index, calls)
}

/** A full disk refuses these; a full quota too. */
const allocating = new Set([
  'creat',
  'trunc',
  'write',
  'mkdir',
  'link',
  'symlink',
  'fsync',
  'xattr',
  'size',
  'copy',
])

function isSignal(act: Act): boolean {
  return act.startsWith('sig')
}

/** Nothing fails that kvx asked for: somebody else does something meanwhile. */
function isOutside(act: Act): boolean {
  return isSignal(act) || act === 'epipe'
}

function applies(act: Act, { kind, length }: Call): boolean {
  if (isOutside(act)) return true
  if (act === 'cut' || act === '104') return kind === 'send'
  if (kind === 'send') return act === 'kill'
  if (act === 'short' || act === 'short-full') return kind === 'write' && length > 1
  return !['28', '122', 'full'].includes(act) || allocating.has(kind)
}

export function newRow({ title, store }: Scenario, fault: string, points: number): Row {
  const counts = { tried: 0, old: 0, done: 0, resumed: 0, rolledBack: 0, again: 0 }
  return { command: title, store, fault, points, ...counts, bad: [] }
}

function rowsOf(scenario: Scenario, calls: Calls, { only }: Limits): Row[] {
  return Object.entries(faults)
    .filter(([fault]) => only?.includes(fault) ?? true)
    .map(([fault, act]) => newRow(scenario, fault, calls(act).filter((call) => applies(act, call)).length))
    .filter(({ points }) => points > 0)
}

/**
 * Kills come three times as often as any other fault, signals and lost readers a third as often; whatever is cut off at the end leaves
 * an even sample.
 */
function orderedJobs(rows: readonly Row[], calls: Calls, { outside = 1 }: Limits): Job[] {
  const jobs = rows.flatMap((row, kind) => {
    const act = faults[row.fault] ?? 'kill'
    const found = calls(act)
      .map(pointOf)
      .filter((call) => applies(act, call))
    // Each fault begins elsewhere, so that a short list holds different calls.
    const first = Math.floor((found.length * kind) / rows.length)
    const some = Math.ceil(found.length / (isOutside(act) ? outside : 1))
    const points = spread([...found.slice(first), ...found.slice(0, first)]).slice(0, some)
    return points.map((call, index) => ({
      armed: { at: call.n, act },
      call,
      row,
      turn: index,
      rank: act === 'kill' ? index / 3 : isOutside(act) ? index * 3 + 0.5 : index,
    }))
  })
  return jobs.sort((a, b) => a.rank - b.rank)
}

/** The same elements so that each beginning of the list is spread over all of it: by the reversed bits of the index. */
export function spread<T>(list: readonly T[]): readonly T[] {
  const bits = Math.ceil(Math.log2(Math.max(2, list.length)))
  const reversed = (index: number): number => {
    let result = 0
    for (let bit = 0; bit < bits; bit++) result = (result << 1) | ((index >> bit) & 1)
    return result
  }
  return Array.from({ length: 2 ** bits }, (_, index) => list[reversed(index)]).filter(
    (one) => one !== undefined,
  )
}

async function tryPoint(scenario: Scenario, site: Site, before: Before, job: Job): Promise<void> {
  await site.reset()
  const { armed, row } = job
  let { call } = job
  try {
    const input = scenario.input?.(site)
    const ended = await site.give(scenario.args(site), { armed, input, record: 'calls' })
    if (!ended.fired) return
    row.tried++
    // Progress is saved by time: another call may have had this number than when they were listed.
    call = pointAt(ended.calls, armed.at) ?? call
    await expectKept(scenario, site, before, { job: { ...job, call }, ended })
  } catch (error) {
    const at = `${armed.act} at ${armed.at} (${call.kind} ${call.path.slice(site.path.length)})`
    const where = canStayWarm({ armed }) ? ', in a process that goes on' : ''
    row.bad.push(`${at}${where}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** What holds after the fault, and that the next command brings everything to its end. */
async function expectKept(
  scenario: Scenario,
  site: Site,
  before: Before,
  { job: { armed, row, turn, call }, ended }: { readonly job: Job; readonly ended: Shimmed },
): Promise<void> {
  requireFair(armed.act, call, ended)
  if (isSignal(armed.act)) requireAdvice(site, before, ended)
  expectNoSecret(site, ended.stdout + ended.stderr)
  expectLogFirst(site, before)
  await site.expectWhole()
  await scenario.always?.(site)
  await recover(scenario, site, { row, turn, exit: ended.signal === null ? ended.exit : null })
  expectNoSecret(site, logOf(site))
  expectNoLeftovers(site)
  if (turn % 8 !== 0 || !existsSync(site.home)) return
  const { exit, stdout, stderr } = await site.give(['audit', 'verify'])
  assert.equal(exit, 0, `then kvx audit verify: ${stdout}${stderr}`)
}

/** A killed command was killed, another one said plainly what happened. */
function requireFair(act: Act, { kind, isMinded }: Point, { exit, signal, stdout, stderr }: Shimmed): void {
  if (act === 'kill') {
    assert.ok(
      signal === 'SIGKILL' || exit === 137 || exit === 9,
      `it ended with ${exit ?? signal}: ${stderr}`,
    )
    return
  }
  // Who read the output has gone: the work goes on to its end.
  const fair = act === 'epipe' ? [0] : isSignal(act) ? [0, 10, 'SIGHUP', 'SIGINT', 'SIGTERM'] : [0, 9]
  assert.ok(fair.includes(exit ?? signal ?? ''), `exit ${exit ?? signal}: ${stderr}`)
  // After a failed sync nobody knows what is on the medium: it is never passed over. What only helps later, where
  // keys are published and how many values there are, is told instead, as keys and values are safe.
  const isTold = /the home could not remember /.test(stdout + stderr)
  if (act === '5' && kind === 'fsync' && isMinded && !isTold)
    assert.notEqual(exit, 0, 'a failed sync was passed over')
  assert.doesNotMatch(stderr, /\n\s+at |\b(?:TypeError|ERR_[A-Z_]+)\b/, 'a stack trace')
}

/** Who stopped a run is told how it goes on. Before it has begun, or where there is none, a signal may end kvx at once. */
function requireAdvice(site: Site, before: Before, { exit, stdout, stderr }: Shimmed): void {
  const open = site.openRun()
  if (exit === 0 || open === undefined || (exit === null && !hasBegun(site, before))) return
  assert.match(
    stdout + stderr,
    new RegExp(`kvx run (?:resume|rollback) ${open.id}`),
    'no command that goes on',
  )
}

type State = 'open' | 'done' | 'old'

async function look(scenario: Scenario, site: Site): Promise<State> {
  if (await holds(scenario.done, site)) return 'done'
  return scenario.again === undefined && site.openRun() !== undefined ? 'open' : 'old'
}

/** What a person would do next. Now and then that is killed in its middle too, and given again. */
export async function recover(
  scenario: Scenario,
  site: Site,
  { row, turn, exit }: { readonly row: Row; readonly turn: number; readonly exit: number | null },
): Promise<void> {
  if (exit === 0) await scenario.done(site)
  const state = await look(scenario, site)
  if (state === 'done') {
    row.done++
    return
  }
  const back = state === 'open' && scenario.back !== undefined && turn % 2 === 1
  const goal = back && scenario.back !== undefined ? scenario.back : scenario.done
  if (state === 'old' && scenario.again === undefined) await scenario.old?.(site)
  const command = nextCommand(scenario, site, state, back)
  const seldom = row.fault === 'killed' || row.fault === 'power cut' ? 6 : 24
  // Where the command is a recovery itself, this is the third fault in a row.
  const every = scenario.again === undefined ? seldom : seldom * 4
  if (turn % every === 2 && (await killRecovery(scenario, site, command, turn))) row.again++
  const now = await look(scenario, site)
  if (now === 'open' || (now === 'old' && state === 'old'))
    await give(scenario, site, nextCommand(scenario, site, now, back))
  await goal(site)
  if (state === 'old') row.old++
  else if (back) row.rolledBack++
  else row.resumed++
}

function nextCommand(scenario: Scenario, site: Site, state: State, back: boolean): readonly string[] {
  if (state !== 'open') return scenario.args(site)
  return back ? ['run', 'rollback', '--yes'] : ['run', 'resume']
}

async function give(scenario: Scenario, site: Site, command: readonly string[]): Promise<void> {
  const input = scenario.input?.(site)
  const { exit, stdout, stderr } = await site.give([...command, '--json'], { input })
  expectNoSecret(site, stdout + stderr)
  const code = (JSON.parse(stdout) as { error?: { code: string } }).error?.code
  if (code !== undefined && scenario.already?.includes(code) === true) return
  assert.equal(exit, 0, `then kvx ${command.join(' ')}: exit ${exit} ${stdout.replaceAll(/\s+/g, ' ')}`)
}

/** Depth 2: the recovery dies too. False where it ended before. */
async function killRecovery(
  scenario: Scenario,
  site: Site,
  command: readonly string[],
  turn: number,
): Promise<boolean> {
  // Primes spread the second fault over the first calls of recoveries of any length.
  const armed = { at: 1 + ((turn * 37) % 113), act: 'kill' } as const
  const { fired } = await site.give(command, { armed, input: scenario.input?.(site) })
  await site.expectWhole()
  await scenario.always?.(site)
  return fired
}

async function holds(check: Scenario['done'], site: Site): Promise<boolean> {
  try {
    await check(site)
    return true
  } catch {
    return false
  }
}

/**
 * Unfinished files that may hold a key. Those of plans, certificates, encrypted backups, known places,
 * generations of vaults and the keyring hold none,
 * and a second name of the very file that is published goes with its next replacement.
 */
function expectNoLeftovers(site: Site): void {
  const isPublished = (name: string): boolean =>
    !name.startsWith('.kvx/') && (statSync(site.file(name), { throwIfNoEntry: false })?.nlink ?? 0) > 1
  const left = readdirSync(site.path, { recursive: true, encoding: 'utf8' }).filter(
    (name) =>
      name.endsWith('.kvx-new') &&
      !/\.kvx\/(?:(?:runs|certificates|backups)\/|\.(?:keyring|places|vaults)\.json)/.test(name) &&
      !name.endsWith('.generation.kvx-new') &&
      !isPublished(name),
  )
  assert.deepEqual(left, [], 'unfinished files')
}
