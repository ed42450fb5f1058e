import { join } from 'node:path'
import { z } from 'zod'
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

/** Signs and writes a report, durable when this returns; never over another one. */
export async function writeDrillReport(workspace: Workspace, report: DrillReport): Promise<string> {
  const folder = drillsFolder(workspace.home)
  await makeDirectory(folder, 0o700)
  const stem = `${report.name}.v${report.version}.${report.started.replaceAll(/[-:]/g, '')}`
  let path = join(folder, `${stem}.json`)
  for (let number = 2; await exists(path); number++) path = join(folder, `${stem}-${number}.json`)
  await writeState(path, Buffer.from(`${JSON.stringify(signDocument(report, workspace.signer), null, 2)}\n`))
  return path
}

/** The newest drill of a version that this home signed; a report that was changed, or is another's, is none. */
export async function lastDrill(
  workspace: Workspace,
  name: string,
  version: number,
): Promise<DrillReport | undefined> {
  const folder = drillsFolder(workspace.home)
  if (!(await exists(folder))) return undefined
  const reports: DrillReport[] = []
  for (const file of await listDirectory(folder)) {
    if (!file.startsWith(`${name}.v${version}.`)) continue
    const report = await readReport(workspace, join(folder, file))
    if (report?.name === name && report.version === version) reports.push(report)
  }
  return reports.sort((one, other) => (one.started < other.started ? -1 : 1)).at(-1)
}

async function readReport(workspace: Workspace, path: string): Promise<DrillReport | undefined> {
  try {
    const { bytes } = await readFileCapped(path, { maxBytes: maxReport })
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
