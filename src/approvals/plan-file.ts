import { createHash } from 'node:crypto'
import { z } from 'zod'
import { canonicalJson } from '../core/canonical-json.ts'
import { KvxError } from '../core/errors.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { readFileCapped } from '../platform/files.ts'

/**
 * A plan as a file: what shall be done, and everything that was true when it was made. Its bytes are canonical JSON
 * and a line feed; its digest is their SHA-256, as `sha256sum` prints it. Signatures of approvers lie beside it and
 * are over the bytes of the file.
 */

const hex64 = z.string().regex(/^[0-9a-f]{64}$/)
const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
const count = z.int().nonnegative()
const version = z.int().positive()
const line = z.string().regex(/^[^\p{Cc}]{1,500}$/u)

const loss = z.strictObject({ count: z.int().positive(), reason: line }).nullable()
const named = z.strictObject({ names: z.array(line), reason: line }).nullable()
const onError = z.enum(['stop', 'quarantine'])
/** What the operator declares beside the work; recorded when it is done. */
const declared = { rolledOut: z.boolean(), withoutBackup: line.nullable() }

const work = z.discriminatedUnion('command', [
  z.strictObject({
    command: z.enum(['rewrap', 'reencrypt', 'seal']),
    names: z.array(line),
    newDeks: z.boolean(),
    offline: z.boolean(),
    onError,
    ...declared,
  }),
  z.strictObject({
    command: z.literal('rotate'),
    name: line,
    offline: z.boolean(),
    /** The data follows in the same run. */
    data: z.boolean(),
    stageOnly: z.boolean(),
    onError,
    ...declared,
  }),
  z.strictObject({
    command: z.literal('retire'),
    name: line,
    version,
    acceptLoss: loss,
    drop: named,
    acceptShrunk: named,
  }),
  z.strictObject({
    command: z.literal('destroy'),
    name: line,
    version,
    /** The waiting time that begins; null to carry out what waits already. */
    after: line.nullable(),
    acceptLoss: loss,
    drop: named,
  }),
])

const counts = z.strictObject({
  envelope: line,
  records: count,
  nulls: count,
  plaintext: count,
  unreadable: count,
  mislabelled: count,
  byVersion: z.record(z.string(), count),
})

const facts = z.strictObject({
  key: line,
  /** The version that seals before; of `retire` and `destroy` the one that they are about. */
  from: version.nullable(),
  /** The version that seals afterwards; null where none begins to. */
  to: version.nullable(),
  /** NAME@VERSION: state and fingerprint of every version of the key. */
  versions: z.record(line, z.strictObject({ state: line, fingerprint: hex64.nullable() })),
  /** SHA-256 over the declarations of what is worked on, as this kvx understands them. */
  declarations: hex64,
  envelopes: z.array(counts),
})

/** What a plan file holds; published with the schemas of `--json`. */
export const planFile = z.strictObject({
  schema: z.literal('kvx.work-plan/1'),
  /** Fingerprint of the audit key of the home that it is for. */
  home: hex64,
  /** SHA-256 of kvx.yaml. */
  configuration: hex64,
  created: time,
  actor: line,
  expires: time,
  /** By so many records a count may differ when it is applied. */
  tolerance: count,
  work,
  facts,
})

export type PlanFile = z.output<typeof planFile>
export type PlannedWork = PlanFile['work']
export type PlannedFacts = PlanFile['facts']

/** A plan with the bytes that are signed. */
export type ReadPlanFile = { readonly plan: PlanFile; readonly bytes: Buffer; readonly digest: string }

const maxPlanBytes = 4 * 1_048_576

export function encodePlanFile(plan: PlanFile): ReadPlanFile {
  const bytes = Buffer.concat([canonicalJson(planFile.parse(plan)), Buffer.from('\n')])
  return { plan, bytes, digest: digestOf(bytes) }
}

/** @throws PLAN_DIFFERS for a file that is not, byte for byte, what kvx writes; FILE_NOT_FOUND */
export async function readPlanFile(path: string): Promise<ReadPlanFile> {
  const { bytes } = await readFileCapped(path, { maxBytes: maxPlanBytes, follow: true })
  const plan = parse(bytes)
  if (plan !== undefined && encodePlanFile(plan).bytes.equals(bytes)) {
    return { plan, bytes, digest: digestOf(bytes) }
  }
  throw new KvxError('PLAN_DIFFERS', `${shownPath(path)} is no plan, or was changed after kvx wrote it`, {
    hint: `Nothing was done. Take the file that \`kvx plan\` wrote: \`sha256sum ${quotedPath(path)}\` prints its digest.`,
  })
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function parse(bytes: Buffer): PlanFile | undefined {
  try {
    const parsed = planFile.safeParse(JSON.parse(bytes.toString('utf8')))
    return parsed.success ? parsed.data : undefined
  } catch {
    return undefined
  }
}

/** What the work is about, in one line: `rewrap app.secrets`, `retire master@1`. */
export function workTitle(work: PlannedWork): string {
  const { command } = work
  if (command === 'rotate')
    return `rotate ${work.name}${work.offline ? ' --offline' : ''}${work.data ? ' --then data' : ''}`
  if (command === 'retire') return `retire ${work.name}@${work.version}`
  if (command === 'destroy')
    return `destroy ${work.name}@${work.version}${work.after === null ? ' --due' : ` --after ${work.after}`}`
  return [command, ...work.names, ...(work.newDeks ? ['--new-deks'] : [])].join(' ')
}
