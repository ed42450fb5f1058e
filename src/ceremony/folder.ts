import { join } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { appendDurable } from '../platform/append-file.ts'
import { createFile } from '../platform/create-file.ts'
import { shownPath } from '../platform/file-errors.ts'
import { exists, listDirectory, makeDirectory, readFileCapped } from '../platform/files.ts'
import { writeState } from '../platform/state-file.ts'
import { digestOf, type Digest } from './digest.ts'
import { encodePlan, parsePlan, type Plan } from './plan.ts'
import { renderPlan } from './plan-text.ts'
import { brokenAt, type CeremonyEvent, headOf, nextEvent, parseEvent } from './record.ts'

/** The files of a ceremony, in a folder of its own; none of them holds a secret. A rehearsal has one below it. */
export type CeremonyFolder = {
  readonly path: string
  readonly plan: string
  /** The printable script. */
  readonly script: string
  /** What happened so far: one event a line, written before the next step begins. */
  readonly events: string
  readonly record: string
  readonly recordText: string
  readonly artefacts: string
  readonly signatures: string
}

export function ceremonyFolder(path: string): CeremonyFolder {
  return {
    path,
    plan: join(path, 'plan.yaml'),
    script: join(path, 'plan.md'),
    events: join(path, 'events.jsonl'),
    record: join(path, 'record.json'),
    recordText: join(path, 'record.md'),
    artefacts: join(path, 'artefacts'),
    signatures: join(path, 'signatures'),
  }
}

export type LoadedPlan = { readonly plan: Plan; readonly digest: Digest; readonly bytes: Buffer }

const maxBytes = 4 * 1024 * 1024

/** Writes the plan and its script into a new folder. @throws TARGET_EXISTS for a folder that holds a plan */
export async function writePlan(path: string, made: Plan): Promise<LoadedPlan> {
  const folder = ceremonyFolder(path)
  const bytes = encodePlan(made)
  const digest = digestOf(bytes)
  await makeDirectory(path, 0o700)
  await createFile(folder.plan, bytes, { mode: 0o644 })
  await createFile(folder.script, Buffer.from(renderPlan(made, digest)), { mode: 0o644 })
  return { plan: made, digest, bytes }
}

/**
 * The plan of a folder and its digest.
 * @throws FILE_NOT_FOUND, CONFIG_INVALID; PLAN_DIFFERS when the printable script is not that of the plan
 */
export async function loadPlan(folder: CeremonyFolder): Promise<LoadedPlan> {
  const { bytes } = await readFileCapped(folder.plan, { maxBytes })
  const plan = parsePlan(bytes, folder.plan)
  const digest = digestOf(bytes)
  const script = await readFileCapped(folder.script, { maxBytes })
  if (script.bytes.equals(Buffer.from(renderPlan(plan, digest)))) return { plan, digest, bytes }
  throw new KvxError('PLAN_DIFFERS', `${shownPath(folder.script)} is not the script of the plan beside it`, {
    hint: 'One of the two was changed. To change a plan, make a new one: `kvx ceremony plan KIND NAME --from FILE`.',
  })
}

/**
 * The events of a ceremony that is under way. A last line that was cut off is no event: nothing went on after it.
 * @throws DAMAGED when a line is none, or does not follow the one before it
 */
export async function readEvents(folder: CeremonyFolder, plan: string): Promise<readonly CeremonyEvent[]> {
  const { lines } = await readLinesOf(folder)
  const events = lines.map(parseEvent).filter((event) => event !== undefined)
  if (events.length === lines.length && brokenAt(events, plan) === undefined) return events
  throw new KvxError('DAMAGED', `${shownPath(folder.events)} is not as it was written`, {
    hint: 'Keep it as evidence, and hold the ceremony again by a new plan.',
  })
}

async function readLinesOf(
  folder: CeremonyFolder,
): Promise<{ readonly lines: readonly string[]; readonly isTorn: boolean }> {
  if (!(await exists(folder.events))) return { lines: [], isTorn: false }
  const { bytes } = await readFileCapped(folder.events, { maxBytes })
  const lines = bytes.toString('utf8').split('\n')
  const rest = lines.pop() ?? ''
  return { lines, isTorn: rest !== '' }
}

/** Keeps the events of a ceremony: each is on the medium before anything else happens. */
export class EventLog {
  readonly #folder: CeremonyFolder
  readonly #plan: string
  readonly #events: CeremonyEvent[]

  private constructor(folder: CeremonyFolder, plan: string, events: readonly CeremonyEvent[]) {
    this.#folder = folder
    this.#plan = plan
    this.#events = [...events]
  }

  static async open(folder: CeremonyFolder, plan: Digest): Promise<EventLog> {
    const { lines, isTorn } = await readLinesOf(folder)
    if (isTorn) await writeState(folder.events, Buffer.from(lines.map((line) => `${line}\n`).join('')))
    return new EventLog(folder, plan.sha256, await readEvents(folder, plan.sha256))
  }

  get events(): readonly CeremonyEvent[] {
    return this.#events
  }

  get head(): string {
    return headOf(this.#events, this.#plan)
  }

  async append(draft: Omit<CeremonyEvent, 'seq' | 'prev'>): Promise<CeremonyEvent> {
    const event = nextEvent({ seq: this.#events.length, head: this.head }, draft)
    await appendDurable(this.#folder.events, Buffer.from(`${JSON.stringify(event)}\n`))
    this.#events.push(event)
    return event
  }
}

/** Names of rehearsals that were held, and the next one: `rehearsal-1`, `rehearsal-2`, … */
export async function nextRehearsal(path: string): Promise<string> {
  const held = (await listDirectory(path)).filter((name) => /^rehearsal-\d+$/.test(name))
  return join(path, `rehearsal-${held.length + 1}`)
}
