import { join, relative } from 'node:path'
import { z } from 'zod'
import { sha256Of } from '../audit/documents.ts'
import type { Facts } from '../audit/entry.ts'
import { readAudit } from '../audit/read-audit.ts'
import { signDocument, verifyDocument } from '../audit/signed-document.ts'
import { canonicalJson } from '../core/canonical-json.ts'
import { isKvxError } from '../core/errors.ts'
import { exists, listDirectory, makeDirectory, readFileCapped } from '../platform/files.ts'
import { writeState } from '../platform/state-file.ts'
import { drillsFolder } from './home.ts'
import type { Workspace } from './workspace.ts'

const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)

/** What a drill proved. Times are UTC, durations whole seconds. It holds nothing secret. */
const drillReport = z.strictObject({
  schema: z.literal('kvx.drill-report/1'),
  name: z.string(),
  version: z.int().min(1),
  fingerprint: z.string().regex(/^[0-9a-f]{64}$/),
  source: z.enum(['shares', 'gpg']),
  /** The share set or the backup that the key came from. */
  from: z.string(),
  /** Who took part: holders of shares, or the OpenPGP key that opened the backup. */
  participants: z.array(z.strictObject({ index: z.int().nullable(), who: z.string() })),
  /** What the rebuilt key opened. */
  opened: z.enum(['canary']),
  started: time,
  seconds: z.int().nonnegative(),
  nextDue: time,
  by: z.string(),
  kvxVersion: z.string(),
})

export type DrillReport = Readonly<z.output<typeof drillReport>>

const maxReport = 64 * 1024

/** What the log calls a drill. */
export const drillAction = 'backup.drill'

/**
 * Signs and writes a report, durable when this returns; never over another one.
 * @returns its path, and the facts by which the log names it: without them it does not count
 */
export async function writeDrillReport(
  workspace: Workspace,
  report: DrillReport,
): Promise<{ readonly path: string; readonly named: Facts }> {
  const folder = drillsFolder(workspace.home)
  await makeDirectory(folder, 0o700)
  const stem = `${report.name}.v${report.version}.${report.started.replaceAll(/[-:]/g, '')}`
  let path = join(folder, `${stem}.json`)
  for (let number = 2; await exists(path); number++) path = join(folder, `${stem}-${number}.json`)
  const bytes = Buffer.from(`${JSON.stringify(signDocument(report, workspace.signer), null, 2)}\n`)
  await writeState(path, bytes)
  return { path, named: { report: pathInHome(workspace, path), reportSha256: sha256Of(bytes) } }
}

function pathInHome({ home }: Workspace, path: string): string {
  return relative(home.path, path)
}

/**
 * The newest drill of a version that this home signed and its log names. A report that was changed, is another's, or
 * is no more than a file, is none.
 */
export async function lastDrill(
  workspace: Workspace,
  name: string,
  version: number,
): Promise<DrillReport | undefined> {
  const folder = drillsFolder(workspace.home)
  const files = (await exists(folder)) ? await listDirectory(folder) : []
  const own = files.filter((file) => file.startsWith(`${name}.v${version}.`))
  if (own.length === 0) return undefined
  const named = await namedInLog(workspace)
  const reports: DrillReport[] = []
  for (const file of own) {
    const path = join(folder, file)
    const report = await readReport(workspace, path, named.get(pathInHome(workspace, path)))
    if (report?.name === name && report.version === version) reports.push(report)
  }
  return reports.sort((one, other) => (one.started < other.started ? -1 : 1)).at(-1)
}

/** The SHA-256 of each report by the path under which the log names it. */
async function namedInLog(workspace: Workspace): Promise<ReadonlyMap<string, string>> {
  const named = new Map<string, string>()
  for await (const { data } of readAudit(workspace.home.audit, { action: drillAction })) {
    const { report, reportSha256 } = data
    if (typeof report === 'string' && typeof reportSha256 === 'string') named.set(report, reportSha256)
  }
  return named
}

async function readReport(
  workspace: Workspace,
  path: string,
  sha256: string | undefined,
): Promise<DrillReport | undefined> {
  try {
    const { bytes } = await readFileCapped(path, { maxBytes: maxReport })
    if (sha256Of(bytes) !== sha256) return undefined
    const signed: unknown = JSON.parse(bytes.toString('utf8'))
    const { document, publicKeyFingerprint } = verifyDocument(signed)
    const report = drillReport.parse(document)
    const { signature } = signed as { readonly signature: { readonly value: string } }
    const value = Buffer.from(signature.value, 'base64')
    return workspace.verify(canonicalJson(document), value, publicKeyFingerprint) === 'valid'
      ? report
      : undefined
  } catch (error) {
    if (isKvxError(error) || error instanceof z.ZodError || error instanceof SyntaxError) return undefined
    throw error
  }
}
