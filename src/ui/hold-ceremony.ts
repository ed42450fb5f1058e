import { buildRecord } from '../ceremony/build-record.ts'
import type { Digest } from '../ceremony/digest.ts'
import { digestOf } from '../ceremony/digest.ts'
import {
  type CeremonyFolder,
  ceremonyFolder,
  EventLog,
  type LoadedPlan,
  loadPlan,
} from '../ceremony/folder.ts'
import { preflight } from '../ceremony/preflight.ts'
import { type CeremonyRecord, encodeRecord } from '../ceremony/record.ts'
import { renderRecord } from '../ceremony/record-text.ts'
import { prepareRehearsal } from '../ceremony/rehearsal.ts'
import { isIdentity, scanForSecrets } from '../ceremony/self-scan.ts'
import {
  findWorkspace,
  keepArtefacts,
  keyFacts,
  newManifests,
  newestSet,
  newestVersion,
  programDigest,
} from '../ceremony/site.ts'
import { KvxError } from '../core/errors.ts'
import { configIfThere } from '../keyring/site-values.ts'
import { isoNow } from '../platform/clock.ts'
import { createFile } from '../platform/create-file.ts'
import { exists } from '../platform/files.ts'
import { writeState } from '../platform/state-file.ts'
import { asVariable, type CeremonyId } from '../backup/shares/ceremony-id.ts'
import { runInForeground } from '../platform/foreground.ts'
import { acquireLock } from '../platform/lock.ts'
import { packaged } from '../platform/packaged.ts'
import { onlineInterfaces } from '../platform/surroundings.ts'
import { kvxVersion } from '../version.ts'
import { CeremonyDialogue } from './ceremony-dialogue.ts'
import { askInput } from './prompts.ts'

export type CeremonyRequest = {
  readonly folder: string
  readonly config: string | undefined
  readonly home: string | undefined
  readonly rehearse: boolean
  readonly end: boolean
  readonly requireOffline: boolean
  readonly requireNoSwap: boolean
  readonly dryRun: boolean
}

export type HeldCeremony = {
  readonly path: string
  /** The steps in one line each. */
  readonly steps: readonly string[]
  readonly record: CeremonyRecord | undefined
  readonly digest: Digest | undefined
}

/** Holds a ceremony at this terminal, in its own folder or in one of a rehearsal below it, and writes the record. */
export async function holdCeremony(request: CeremonyRequest): Promise<HeldCeremony> {
  const planned = ceremonyFolder(request.folder)
  const loaded = await loadPlan(planned)
  const steps = loaded.plan.steps.map(
    ({ title, role }, at) => `${String(at + 1).padStart(3)}  ${title}  [${role}]`,
  )
  if (request.dryRun) return { path: planned.path, steps, record: undefined, digest: undefined }
  const stage = request.rehearse ? await rehearsalStage(request, loaded) : realStage(request, planned)
  await refuseSecondRecord(stage.folder)
  const lock = await acquireLock(stage.folder.path, 'this ceremony')
  try {
    const log = await EventLog.open(stage.folder, loaded.digest)
    if (!request.end) await conduct(loaded, log, stage, request)
    const record = await finishRecord(loaded, log, stage, request.rehearse)
    return { path: stage.folder.path, steps, ...record }
  } finally {
    lock.release()
  }
}

/** Where the ceremony takes place: its folder, and the flags that its commands get. */
type Stage = {
  readonly folder: CeremonyFolder
  readonly options: { readonly config: string | undefined; readonly home: string | undefined }
}

function realStage({ config, home }: CeremonyRequest, folder: CeremonyFolder): Stage {
  return { folder, options: { config, home } }
}

async function rehearsalStage(request: CeremonyRequest, loaded: LoadedPlan): Promise<Stage> {
  const real = await configIfThere(request)
  const rehearsal = await prepareRehearsal(request.folder, loaded, real)
  const stage = {
    folder: ceremonyFolder(rehearsal.path),
    options: { config: rehearsal.config, home: undefined },
  }
  for (const words of rehearsal.before) {
    const exit = await runKvx(words, stage, loaded.plan)
    if (exit === 0) continue
    throw new KvxError(
      'TOOL_FAILED',
      `the rehearsal could not be prepared: kvx ${words.join(' ')} ended with ${exit}`,
      {
        hint: 'What it needs is said above. Nothing outside the folder of the rehearsal was touched.',
      },
    )
  }
  return stage
}

/** The very commands that an operator would type, as processes of their own: no key is ever in this one. */
async function runKvx(words: readonly string[], { options }: Stage, plan: CeremonyId): Promise<number> {
  const program = await packaged('bin/kvx')
  if (program === undefined) throw new KvxError('TOOL_MISSING', 'bin/kvx is not where this kvx was installed')
  const places = Object.entries(options).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, value],
  )
  return runInForeground(program, [...words, ...places], { ...process.env, ...asVariable(plan) })
}

async function conduct(
  loaded: LoadedPlan,
  log: EventLog,
  stage: Stage,
  request: CeremonyRequest,
): Promise<void> {
  const { plan } = loaded
  const dialogue = new CeremonyDialogue(
    loaded,
    log,
    {
      runCommand: async (words) => runKvx(words, stage, plan),
      preflight: async () =>
        preflight({
          config: await configIfThere(stage.options),
          key: plan.key,
          requireOffline: request.requireOffline,
          requireNoSwap: request.requireNoSwap,
          program: plan.kvx.sha256,
        }),
      standsFor: async (placeholder) => {
        const workspace = await findWorkspace(stage.options)
        if (workspace === undefined) return undefined
        if (placeholder === '@newest@') return newestVersion(workspace, plan.key)
        return (await newestSet(workspace, plan.key))?.set.set.toUpperCase()
      },
    },
    request.rehearse,
  )
  await dialogue.conduct()
}

async function finishRecord(
  loaded: LoadedPlan,
  log: EventLog,
  { folder, options }: Stage,
  rehearsal: boolean,
): Promise<{ readonly record: CeremonyRecord; readonly digest: Digest }> {
  const started = log.events[0]?.at
  if (started === undefined) {
    throw new KvxError('NOTHING_TO_RESUME', 'this ceremony has not begun', {
      hint: `Begin it with \`kvx ceremony run ${folder.path}\`.`,
    })
  }
  const workspace = await findWorkspace(options)
  const { key } = loaded.plan
  const facts =
    workspace === undefined
      ? { key: null, shareSet: null, auditKey: null }
      : await keyFacts(workspace, key, started)
  const manifests = workspace === undefined ? [] : await newManifests(workspace, key, started)
  const artefacts = await keepArtefacts(folder.artefacts, [...manifests, ...(await moreFiles())])
  await log.append({
    kind: 'end',
    step: 0,
    actor: 'administrator',
    at: isoNow(),
    text: 'the record is closed',
  })
  const kvx = { version: kvxVersion, sha256: await programDigest() }
  const site = { ...facts, artefacts, network: [...onlineInterfaces()], kvx }
  const record = buildRecord(loaded, log.events, site, rehearsal)
  refuseSecrets(record)
  const bytes = encodeRecord(record)
  const digest = digestOf(bytes)
  await writeState(folder.recordText, Buffer.from(renderRecord(record, digest)))
  await createFile(folder.record, bytes, { mode: 0o644 })
  await workspace?.audit.append({
    action: 'ceremony.record',
    phase: 'note',
    subject: key,
    data: { ceremony: record.ceremony, result: record.result, sha256: digest.sha256 },
  })
  return { record, digest }
}

/** Photographs of bags, logs, whatever shall be bound to the record. */
async function moreFiles(): Promise<readonly string[]> {
  const files: string[] = []
  for (;;) {
    const file = await askInput(
      'Another file to keep with the record, never one with a secret (Enter: none)',
      {
        validate: async (path) => path === '' || (await exists(path)) || 'there is no such file',
      },
    )
    if (file === '') return files
    files.push(file)
  }
}

function refuseSecrets(record: CeremonyRecord): void {
  const found = scanForSecrets(record, isIdentity)
  if (found === undefined) return
  throw new KvxError('BUG', `the record would hold what looks like ${found.what}, at ${found.path}`, {
    hint: 'Nothing was written. `events.jsonl` has it: read it, and replace that key.',
  })
}

async function refuseSecondRecord(folder: CeremonyFolder): Promise<void> {
  if (!(await exists(folder.record))) return
  throw new KvxError('TARGET_EXISTS', 'this ceremony was held, and its record is closed', {
    hint: `Look at it with \`kvx ceremony verify ${folder.path}\`. For another one make a new plan.`,
  })
}
