import { resolveRecipients } from '../backup/recipients.ts'
import type { Config } from '../config/config.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { runChild } from '../platform/child.ts'
import { isoNow, now } from '../platform/clock.ts'
import { exists, lstatFacts, readFileCapped } from '../platform/files.ts'
import { hasNoCore, swapWarning } from '../platform/harden.ts'
import { isInMemory } from '../platform/in-memory.ts'
import { packaged } from '../platform/packaged.ts'
import { onlineInterfaces, recordingNotices } from '../platform/surroundings.ts'
import { programDigest } from './site.ts'

/** One line of what was looked at before keys are handled. `stop`: not on this machine, or not now. */
export type Finding = {
  readonly name: string
  readonly state: 'ok' | 'warn' | 'stop'
  readonly message: string
}

export type PreflightRequest = {
  readonly config: Config | undefined
  /** The key whose custodians and recipients are looked at; all keys when undefined. */
  readonly key?: string | undefined
  readonly requireOffline: boolean
  readonly requireNoSwap: boolean
  /** SHA-256 of the program that the plan was made with. */
  readonly program?: string | undefined
  readonly gpgEnv?: Readonly<Record<string, string>>
}

/** Looks at the machine and the people's keys. Changes nothing, and holds no key. */
export async function preflight(request: PreflightRequest): Promise<readonly Finding[]> {
  return [...(await machine(request)), ...(await custodianKeys(request)), await program(request.program)]
}

/** The machine alone. @param request.withoutGpg where nothing is encrypted to anybody */
export async function machine(
  request: Pick<PreflightRequest, 'requireOffline' | 'requireNoSwap'> & { readonly withoutGpg?: boolean },
): Promise<readonly Finding[]> {
  return [
    terminal(),
    ...recording(),
    hasNoCore()
      ? ok('core dumps', 'are off')
      : warn('core dumps', 'the limit is not 0; kvx empties them, other programs do not'),
    swap(request.requireNoSwap),
    network(request.requireOffline),
    await clock(),
    ...(request.withoutGpg === true ? [] : [await gpg()]),
    await printing(),
    await workingFolder(),
  ]
}

/** What a finding that stops everything is for a command. @throws KvxError UNSAFE_PROCESS */
export function refuseStop(findings: readonly Finding[], again: string): void {
  const first = findings.find(({ state }) => state === 'stop')
  if (first !== undefined) throw stopped(first, again)
}

/** @param again the command to run once it is mended */
export function stopped({ name, message }: Finding, again: string): KvxError {
  return new KvxError('UNSAFE_PROCESS', `${name}: ${message}`, {
    hint: `Mend it, then run \`${again}\` again. Nothing was read or changed.`,
  })
}

function ok(name: string, message: string): Finding {
  return { name, state: 'ok', message }
}

function warn(name: string, message: string): Finding {
  return { name, state: 'warn', message }
}

function stop(name: string, message: string): Finding {
  return { name, state: 'stop', message }
}

function terminal(): Finding {
  const isThere = process.stdin.isTTY && process.stderr.isTTY
  return isThere
    ? ok('terminal', 'is there')
    : warn('terminal', 'there is none: shares cannot be typed or shown')
}

function recording(): readonly Finding[] {
  const notices = recordingNotices()
  if (notices.length === 0) return [ok('recording', 'nothing that records this terminal was found')]
  return notices.map(({ message }) => warn('recording', message))
}

function swap(isRequired: boolean): Finding {
  const warning = swapWarning()
  if (warning === undefined) return ok('swap', 'none, or in memory, or encrypted')
  return isRequired ? stop('swap', warning) : warn('swap', warning)
}

function network(isRequired: boolean): Finding {
  const online = onlineInterfaces()
  if (online.length === 0) return ok('network', 'no interface has a carrier')
  const message = `this machine is on a network: ${online.join(', ')}`
  return isRequired ? stop('network', message) : warn('network', message)
}

/** A clock that is before the program was built is wrong; whether it is right, people say. */
async function clock(): Promise<Finding> {
  const built = await packaged('dist/inputs.sha256')
  const facts = built === undefined ? undefined : await lstatFacts(built)
  const earliest = facts === undefined ? 0 : Number(facts.mtimeNs / 1_000_000n)
  if (now().getTime() >= earliest) return ok('clock', `${isoNow()} (UTC): compare it with a watch`)
  return stop('clock', `${isoNow()} is before this kvx was built: set the clock, in UTC`)
}

/** Before 2.2.21, gpg could not read some messages to elliptic-curve keys. */
const oldestGpg = [2, 2, 21] as const

async function gpg(): Promise<Finding> {
  try {
    const { stdout } = await runChild('gpg', ['--version'], { timeoutMs: 10_000 })
    const found = /^gpg \(GnuPG\) (\d+)\.(\d+)\.(\d+)/.exec(stdout.toString('latin1'))
    const parts = (found ?? []).slice(1).map(Number)
    const at = oldestGpg.findIndex((least, index) => parts[index] !== least)
    const isOld = parts.length < 3 || (at >= 0 && (parts[at] ?? 0) < (oldestGpg[at] ?? 0))
    const version = parts.join('.')
    return isOld
      ? stop('gpg', `version ${version || 'unknown'}: 2.2.21 or newer is needed`)
      : ok('gpg', `version ${version}`)
  } catch (error) {
    if (!isKvxError(error)) throw error
    return stop('gpg', error.message)
  }
}

const leastDays = 90

/** Everybody to whom something will be encrypted: the key is there, usable, and will be for a while. */
async function custodianKeys({ config, key, gpgEnv }: PreflightRequest): Promise<readonly Finding[]> {
  const keys = Object.entries(config?.keys ?? {}).filter(([name]) => key === undefined || name === key)
  const fingerprints = keys.flatMap(([, { backup }]) => [
    ...(backup?.recipients ?? []),
    ...(backup?.shares?.custodians.flatMap(({ openpgp }) => openpgp ?? []) ?? []),
  ])
  const findings: Finding[] = []
  for (const fingerprint of new Set(fingerprints)) {
    const name = `key ${fingerprint.slice(-16).toUpperCase()}`
    try {
      const { recipients } = await resolveRecipients([fingerprint], gpgEnv === undefined ? {} : { gpgEnv })
      const [found] = recipients
      const days = found?.daysLeft ?? null
      const who = found?.userId ?? ''
      if (days === null) findings.push(ok(name, `${who}, does not expire`))
      else if (days < leastDays)
        findings.push(warn(name, `${who}, expires in ${days} days: let it be extended first`))
      else findings.push(ok(name, `${who}, expires in ${days} days`))
    } catch (error) {
      if (!isKvxError(error)) throw error
      findings.push(stop(name, error.message))
    }
  }
  return findings
}

/** CUPS keeps printed jobs for a day unless told otherwise (cupsd.conf(5), PreserveJobFiles). */
async function printing(): Promise<Finding> {
  const path = '/etc/cups/cupsd.conf'
  if (!(await exists(path))) return ok('printing', 'there is no CUPS here')
  try {
    const { bytes } = await readFileCapped(path, { maxBytes: 1_048_576, follow: true })
    if (/^\s*PreserveJobFiles\s+(No|Off|0)\b/im.test(bytes.toString('latin1')))
      return ok('printing', 'CUPS keeps no jobs')
  } catch (error) {
    if (!isKvxError(error)) throw error
  }
  return warn(
    'printing',
    `CUPS keeps what it prints: set \`PreserveJobFiles No\` in ${path} before a card is printed`,
  )
}

async function workingFolder(): Promise<Finding> {
  return (await isInMemory('.'))
    ? ok('folder', 'the working folder lies in memory')
    : warn(
        'folder',
        'the working folder lies on a disk: files with shares or keys in the clear belong into /dev/shm',
      )
}

async function program(expected: string | undefined): Promise<Finding> {
  const name = 'program'
  const digest = await programDigest()
  if (expected === undefined) return ok(name, `SHA-256 ${digest}`)
  if (expected === digest) return ok(name, 'the kvx that runs is the one that the plan was made with')
  return stop(
    name,
    `another kvx than the one that the plan was made with: install that one, or make a new plan`,
  )
}
