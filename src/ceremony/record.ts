import { z } from 'zod'
import { canonicalJson } from '../core/canonical-json.ts'
import { KvxError } from '../core/errors.ts'
import { digestOf } from './digest.ts'

export const recordSchema = 'kvx.ceremony-record/1'

const text = z.string().max(4000)
const hex64 = z.string().regex(/^[0-9a-f]{64}$/)
const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
const digest = { sha256: hex64, words: text }

/** What happened, in order; `prev` is the SHA-256 of the event before, of the plan for the first one. */
const event = z.strictObject({
  seq: z.int().positive(),
  at: time,
  kind: z.enum([
    'begin',
    'preflight',
    'answer',
    'role',
    'command',
    'done',
    'skipped',
    'deviation',
    'interrupted',
    'end',
  ]),
  /** Number of the step, 0 for what is around the steps. */
  step: z.int().min(0),
  /** The role that did it. */
  actor: text,
  text,
  /** Facts by name, e.g. how somebody was identified. Never a secret. */
  data: z.record(z.string().regex(/^[a-z][A-Za-z0-9-]{0,31}$/), text).optional(),
  /** Exit code of a command. */
  exit: z.int().optional(),
  prev: hex64,
})

const record = z.strictObject({
  schema: z.literal(recordSchema),
  ceremony: text,
  nonce: text,
  kind: text,
  title: text,
  /** True: nothing in it is real. */
  rehearsal: z.boolean(),
  result: z.enum(['complete', 'incomplete']),
  plan: z.strictObject(digest),
  kvx: z.strictObject({ version: text, sha256: hex64 }),
  node: text,
  host: text,
  osImage: text.nullable().describe('as the people said'),
  network: z.array(text).describe('interfaces with a carrier'),
  clock: text,
  location: text,
  started: time,
  ended: time,
  roles: z.array(
    z.strictObject({
      role: text,
      name: text,
      openpgp: z
        .string()
        .regex(/^[0-9A-F]{40,64}$/)
        .nullable(),
      identified: text.describe('how the others know who it is'),
    }),
  ),
  key: z
    .strictObject({ name: text, version: z.int().positive(), fingerprint: hex64, words: text })
    .nullable(),
  shareSet: z
    .strictObject({
      set: text,
      threshold: z.int(),
      of: z.int(),
      state: text,
      supersedes: z.array(text),
      shares: z.array(
        z.strictObject({
          index: z.int(),
          custodian: text,
          digest: hex64,
          delivery: z.strictObject({ sha256: hex64 }).nullable(),
          confirmed: time.nullable(),
        }),
      ),
    })
    .nullable(),
  /** Facts that were asked for, by step and name: numbers of bags and the like. */
  answers: z.array(z.strictObject({ step: z.int(), name: text, text })),
  events: z.array(event),
  /** Numbers of the events that deviate from the plan. */
  deviations: z.array(z.int()),
  /** Public files in `artefacts/`, as they were at the end. */
  artefacts: z.array(z.strictObject({ path: z.string().regex(/^[A-Za-z0-9][\w.-]{0,200}$/), ...digest })),
  /** SHA-256 of the last event. */
  head: hex64,
  /** Fingerprint of the audit key of the home, where there is one. */
  auditKey: hex64.nullable(),
  nextDrill: time.nullable(),
})

export type CeremonyRecord = Readonly<z.output<typeof record>>
export type CeremonyEvent = CeremonyRecord['events'][number]

/** The bytes of `record.json`: canonical JSON (RFC 8785), so that `sha256sum` gives what is signed and read aloud. */
export function encodeRecord(made: CeremonyRecord): Buffer {
  return canonicalJson(record.parse(made))
}

/** @throws DAMAGED for what is no record in its one form */
export function parseRecord(bytes: Uint8Array): CeremonyRecord {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw damaged('it is not JSON')
  }
  const parsed = record.safeParse(value)
  if (!parsed.success) throw damaged(`its member ${parsed.error.issues[0]?.path.map(String).join('.') ?? ''}`)
  if (!canonicalJson(parsed.data).equals(bytes)) throw damaged('it is not in its canonical form')
  return parsed.data
}

function damaged(why: string): KvxError {
  return new KvxError('DAMAGED', `record.json is not as it was written: ${why}`, {
    hint: 'take another copy of the folder of the ceremony',
  })
}

/** One line of `events.jsonl`; undefined for what is none. */
export function parseEvent(line: string): CeremonyEvent | undefined {
  try {
    return event.safeParse(JSON.parse(line)).data
  } catch {
    return undefined
  }
}

/** The event that follows `last`, the first one on the plan. */
export function nextEvent(
  before: { readonly seq: number; readonly head: string },
  draft: Omit<CeremonyEvent, 'seq' | 'prev'>,
): CeremonyEvent {
  return { seq: before.seq + 1, ...draft, prev: before.head }
}

export function hashOfEvent(one: CeremonyEvent): string {
  return digestOf(canonicalJson(one)).sha256
}

/** The number of the first event that does not follow the one before it; undefined for a chain that holds. */
export function brokenAt(events: readonly CeremonyEvent[], plan: string): number | undefined {
  let head = plan
  for (const [at, one] of events.entries()) {
    if (one.seq !== at + 1 || one.prev !== head) return at + 1
    head = hashOfEvent(one)
  }
  return undefined
}

export function headOf(events: readonly CeremonyEvent[], plan: string): string {
  const last = events.at(-1)
  return last === undefined ? plan : hashOfEvent(last)
}
