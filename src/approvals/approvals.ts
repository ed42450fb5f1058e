import { createHash } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import type { ApprovalPolicy, Approver } from '../config/policy.ts'
import {
  parseSshPublicKey,
  parseSshSignature,
  sshFingerprint,
  verifySshSignature,
} from '../core/ssh-signature.ts'
import { now } from '../platform/clock.ts'
import { shownPath } from '../platform/file-errors.ts'
import { listDirectory, readFileCapped } from '../platform/files.ts'
import { checkOpenpgpApproval, isOpenpgpSignature } from './openpgp-approval.ts'
import type { ReadPlanFile } from './plan-file.ts'

/** The namespace of SSH signatures: one that was made for anything else is none of a plan. */
export const sshNamespace = 'kvx-plan'

/** A signature that counts. */
export type Approval = {
  readonly approver: string
  readonly kind: 'openpgp' | 'ssh'
  /** Of the approver's key: 40 hex digits, or `SHA256:…`. */
  readonly fingerprint: string
  readonly file: string
  /** The signature as it was read, and its SHA-256. */
  readonly bytes: Buffer
  readonly sha256: string
}

/** A signature that does not count, and why. */
export type Uncounted = { readonly file: string; readonly reason: string }

export type Approvals = { readonly counted: readonly Approval[]; readonly uncounted: readonly Uncounted[] }

const maxSignatureBytes = 64 * 1024

/** Signatures beside a plan: names that begin with the plan's own and a dot, and end in `.asc` or `.sig`. */
export async function signaturesBeside(planPath: string): Promise<readonly string[]> {
  const [folder, stem] = [dirname(planPath), `${basename(planPath)}.`]
  const names = await listDirectory(folder)
  return names
    .filter((name) => name.startsWith(stem) && /\.(?:asc|sig)$/.test(name))
    .sort()
    .map((name) => join(folder, name))
}

/**
 * Looks at every signature. One counts when it is over the bytes of this plan, by the key of an approver whom the
 * policy names and whose key is good now; each approver counts once.
 */
export async function examineApprovals(
  plan: ReadPlanFile,
  files: readonly string[],
  policy: ApprovalPolicy | undefined,
): Promise<Approvals> {
  return examineSignatures(plan.bytes, files, {
    people: policy?.approvers ?? [],
    namespace: sshNamespace,
    stranger: 'it is by a key of nobody whom `policy.approvals.approvers` names',
  })
}

/** Whose signatures count. */
export type Signatories = {
  readonly people: readonly Approver[]
  /** The namespace of SSH signatures. */
  readonly namespace: string
  /** What is said of a signature by anybody else. */
  readonly stranger: string
}

/** The same for any file and anybody's keys. */
export async function examineSignatures(
  message: Uint8Array,
  files: readonly string[],
  signatories: Signatories,
): Promise<Approvals> {
  const counted: Approval[] = []
  const uncounted: Uncounted[] = []
  for (const path of files) {
    const { bytes } = await readFileCapped(path, { maxBytes: maxSignatureBytes, follow: true })
    const file = shownPath(basename(path))
    const found = await examine(bytes, message, signatories)
    if ('reason' in found) uncounted.push({ file, reason: found.reason })
    else if (counted.some(({ approver }) => approver === found.approver)) {
      uncounted.push({ file, reason: `${found.approver} has signed already and counts once` })
    } else counted.push({ ...found, file, bytes, sha256: sha256Of(bytes) })
  }
  const order = signatories.people.map(({ name }) => name)
  return { counted: counted.sort((a, b) => order.indexOf(a.approver) - order.indexOf(b.approver)), uncounted }
}

type Found = Pick<Approval, 'approver' | 'kind' | 'fingerprint'>

async function examine(
  bytes: Buffer,
  message: Uint8Array,
  signatories: Signatories,
): Promise<Found | { readonly reason: string }> {
  const found = isOpenpgpSignature(bytes)
    ? await examineOpenpgp(bytes, message, signatories)
    : examineSsh(bytes, message, signatories)
  if ('reason' in found) return found
  const { until } = signatories.people.find(({ name }) => name === found.approver) ?? {}
  if (until === undefined || now() < new Date(Date.parse(until) + 86_400_000)) return found
  return { reason: `${found.approver} could approve until ${until}` }
}

async function examineOpenpgp(
  bytes: Buffer,
  message: Uint8Array,
  { people, stranger }: Signatories,
): Promise<Found | { readonly reason: string }> {
  const unknown: string[] = []
  for (const one of people) {
    if (!('openpgp' in one)) continue
    const checked = await checkOpenpgpApproval(bytes, message, one)
    if (checked === true)
      return { approver: one.name, kind: 'openpgp', fingerprint: one.openpgp.toUpperCase() }
    if (typeof checked === 'string') unknown.push(`${one.name}: ${checked}`)
  }
  return { reason: unknown[0] ?? stranger }
}

function examineSsh(
  bytes: Buffer,
  message: Uint8Array,
  { people, namespace, stranger }: Signatories,
): Found | { readonly reason: string } {
  const signature = parseSshSignature(bytes.toString('latin1'))
  if (signature === undefined) return { reason: 'it is neither an OpenPGP nor an SSH signature' }
  const one = people.find((each) => 'ssh' in each && parseSshPublicKey(each.ssh)?.equals(signature.publicKey))
  if (one === undefined) return { reason: stranger }
  if (signature.namespace !== namespace) {
    return { reason: `${one.name}: it was made for another purpose, not in the namespace ${namespace}` }
  }
  if (!verifySshSignature(signature, message, namespace))
    return { reason: `${one.name}: it is not a valid signature of this file` }
  return { approver: one.name, kind: 'ssh', fingerprint: sshFingerprint(signature.publicKey) }
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
