import { join } from 'node:path'
import { verifyDocument } from '../audit/signed-document.ts'
import type { GpgOptions } from '../backup/gpg.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { exists, listDirectory, readFileCapped } from '../platform/files.ts'
import { digestOf, type Digest } from './digest.ts'
import { type CeremonyFolder, loadPlan, readEvents } from './folder.ts'
import { verifyWithGpg } from '../backup/gpg-signature.ts'
import { brokenAt, type CeremonyRecord, headOf, parseRecord } from './record.ts'
import { renderRecord } from './record-text.ts'
import { isIdentity, scanForSecrets } from './self-scan.ts'
import { auditSignatureName, auditSignatureSchema } from './sign.ts'

/** `wrong`: it was changed. `open`: nothing proves it yet. */
export type Check = {
  readonly name: string
  readonly state: 'right' | 'open' | 'wrong'
  readonly message: string
}

export type VerifiedRecord = {
  readonly record: CeremonyRecord
  readonly bytes: Buffer
  readonly digest: Digest
  readonly checks: readonly Check[]
}

const maxBytes = 64 * 1024 * 1024

/**
 * Whether the record of a ceremony is what was written: its plan, its chain of events, its artefacts, and that no
 * secret stands in it. Signatures aside.
 * @throws FILE_NOT_FOUND, DAMAGED for a record that cannot be read
 */
export async function verifyRecord(folder: CeremonyFolder): Promise<VerifiedRecord> {
  const { bytes } = await readFileCapped(folder.record, { maxBytes })
  const record = parseRecord(bytes)
  const digest = digestOf(bytes)
  const checks: Check[] = [
    await planCheck(folder, record),
    await chainCheck(folder, record),
    await textCheck(folder, record, digest),
    secretCheck(record),
  ]
  for (const artefact of record.artefacts) checks.push(await artefactCheck(folder, artefact))
  checks.push(...(await strayChecks(folder, record)))
  if (record.rehearsal)
    checks.push({ name: 'rehearsal', state: 'open', message: 'REHEARSAL: nothing in it is real' })
  if (record.result !== 'complete') {
    checks.push({ name: 'result', state: 'open', message: 'the ceremony was not brought to its end' })
  }
  return { record, bytes, digest, checks }
}

async function planCheck(folder: CeremonyFolder, record: CeremonyRecord): Promise<Check> {
  const name = 'plan'
  try {
    const { plan, digest } = await loadPlan(folder)
    const isSame = digest.sha256 === record.plan.sha256 && digest.words === record.plan.words
    const isOf = plan.id === record.ceremony && plan.nonce === record.nonce && plan.kind === record.kind
    if (isSame && isOf)
      return { name, state: 'right', message: 'plan.yaml and plan.md are those of the record' }
    return { name, state: 'wrong', message: 'plan.yaml is not the plan that the record was made by' }
  } catch (error) {
    if (!isKvxError(error)) throw error
    return { name, state: 'wrong', message: error.message }
  }
}

async function chainCheck(folder: CeremonyFolder, record: CeremonyRecord): Promise<Check> {
  const name = 'events'
  const broken = brokenAt(record.events, record.plan.sha256)
  if (broken !== undefined)
    return { name, state: 'wrong', message: `event ${broken} does not follow the one before it` }
  if (headOf(record.events, record.plan.sha256) !== record.head) {
    return { name, state: 'wrong', message: 'the last event is not the one that the record names' }
  }
  const listed = record.events
    .filter(({ kind }) => kind === 'deviation' || kind === 'skipped')
    .map(({ seq }) => seq)
  if (listed.join() !== record.deviations.join()) {
    return { name, state: 'wrong', message: 'the list of deviations is not that of the events' }
  }
  if (!(await isMadeFrom(folder, record))) {
    return { name, state: 'wrong', message: 'events.jsonl is not what the record was made from' }
  }
  return { name, state: 'right', message: `${record.events.length} events, each bound to the one before` }
}

/** The events as they were kept during the ceremony; they need not travel with the record. */
async function isMadeFrom(folder: CeremonyFolder, record: CeremonyRecord): Promise<boolean> {
  if (!(await exists(folder.events))) return true
  try {
    return headOf(await readEvents(folder, record.plan.sha256), record.plan.sha256) === record.head
  } catch (error) {
    if (isKvxError(error, 'DAMAGED')) return false
    throw error
  }
}

async function textCheck(folder: CeremonyFolder, record: CeremonyRecord, digest: Digest): Promise<Check> {
  const name = 'text'
  if (!(await exists(folder.recordText))) return { name, state: 'wrong', message: 'record.md is missing' }
  const { bytes } = await readFileCapped(folder.recordText, { maxBytes })
  if (bytes.equals(Buffer.from(renderRecord(record, digest)))) {
    return { name, state: 'right', message: 'record.md says what record.json says' }
  }
  return { name, state: 'wrong', message: 'record.md does not say what record.json says' }
}

function secretCheck(record: CeremonyRecord): Check {
  const found = scanForSecrets(record, isIdentity)
  const name = 'secrets'
  if (found === undefined)
    return { name, state: 'right', message: 'no text in it decodes as a share or a key' }
  return { name, state: 'wrong', message: `the record holds what looks like ${found.what}, at ${found.path}` }
}

async function artefactCheck(
  folder: CeremonyFolder,
  { path, sha256, words }: CeremonyRecord['artefacts'][number],
): Promise<Check> {
  const name = `artefact ${path}`
  const file = join(folder.artefacts, path)
  if (!(await exists(file))) return { name, state: 'wrong', message: 'it is missing' }
  const digest = digestOf((await readFileCapped(file, { maxBytes })).bytes)
  if (digest.sha256 === sha256 && digest.words === words)
    return { name, state: 'right', message: 'unchanged' }
  return { name, state: 'wrong', message: 'it was changed' }
}

/** A file that was put beside the artefacts later could pass for one. */
async function strayChecks(folder: CeremonyFolder, record: CeremonyRecord): Promise<readonly Check[]> {
  if (!(await exists(folder.artefacts))) return []
  const known = record.artefacts.map(({ path }) => path)
  return (await listDirectory(folder.artefacts))
    .filter((path) => !known.includes(path))
    .map((path) => ({
      name: `artefact ${path}`,
      state: 'wrong' as const,
      message: 'the record does not name it',
    }))
}

export type Expected = GpgOptions & {
  /** Full OpenPGP fingerprints that must have signed, known from elsewhere. */
  readonly signers: readonly string[]
  /** The fingerprint of the audit key, known from elsewhere. */
  readonly auditKey: string | undefined
}

/** One check for each signature that is there, and for each that is missing. */
export async function verifySignatures(
  folder: CeremonyFolder,
  { record, bytes, digest }: VerifiedRecord,
  expected: Expected,
): Promise<readonly Check[]> {
  const files = (await exists(folder.signatures)) ? await listDirectory(folder.signatures) : []
  const checks: Check[] = []
  const signed: string[] = []
  for (const file of files) {
    const signature = (await readFileCapped(join(folder.signatures, file), { maxBytes: 65_536 })).bytes
    if (file === auditSignatureName)
      checks.push(auditCheck(signature, digest.sha256, record, expected.auditKey))
    else checks.push(await roleCheck(file, signature, { record, bytes, expected, signed }))
  }
  for (const { role, openpgp } of record.roles) {
    if (openpgp !== null && !files.includes(`${role}.asc`)) {
      checks.push({ name: `signature of ${role}`, state: 'open', message: `${openpgp} has not signed yet` })
    }
  }
  for (const openpgp of expected.signers.map((one) => one.toUpperCase())) {
    if (!signed.includes(openpgp)) {
      checks.push({
        name: `signer ${openpgp}`,
        state: 'open',
        message: 'no good signature of this key is here',
      })
    }
  }
  if (checks.length === 0) checks.push({ name: 'signatures', state: 'open', message: 'nobody has signed it' })
  return checks
}

async function roleCheck(
  file: string,
  signature: Uint8Array,
  about: {
    readonly record: CeremonyRecord
    readonly bytes: Uint8Array
    readonly expected: Expected
    readonly signed: string[]
  },
): Promise<Check> {
  const role = file.replace(/\.asc$/, '')
  const name = `signature of ${role}`
  const openpgp = about.record.roles.find((one) => one.role === role)?.openpgp ?? undefined
  if (openpgp === undefined)
    return { name, state: 'wrong', message: 'the record names no OpenPGP key for it' }
  const verdict = await verifyWithGpg(about.bytes, signature, about.expected)
  if (verdict.state === 'no-key') {
    return {
      name,
      state: 'open',
      message: `the public key ${openpgp} is not in this keyring: import it, then verify again`,
    }
  }
  if (verdict.state === 'bad') return { name, state: 'wrong', message: 'it does not fit the record' }
  if (verdict.by !== openpgp && verdict.primary !== openpgp) {
    return {
      name,
      state: 'wrong',
      message: `it is by ${verdict.primary}, not by the key that the record names`,
    }
  }
  about.signed.push(verdict.by, verdict.primary)
  return {
    name,
    state: 'right',
    message: `by ${verdict.primary}${verdict.note === undefined ? '' : `; ${verdict.note}`}`,
  }
}

function auditCheck(
  signature: Uint8Array,
  sha256: string,
  record: CeremonyRecord,
  expected: string | undefined,
): Check {
  const name = 'signature of the audit key'
  try {
    const verified = verifyDocument(JSON.parse(Buffer.from(signature).toString('utf8')), expected)
    const { schema, ceremony } = verified.document
    const isOf =
      verified.document['sha256'] === sha256 &&
      ceremony === record.ceremony &&
      schema === auditSignatureSchema
    if (!isOf) return { name, state: 'wrong', message: 'it is of another record' }
    if (record.auditKey !== verified.publicKeyFingerprint) {
      return { name, state: 'wrong', message: 'it is not by the audit key that the record names' }
    }
    const by = `by ${verified.publicKeyFingerprint}`
    if (verified.proven) return { name, state: 'right', message: by }
    return {
      name,
      state: 'open',
      message: `${by}; compare that fingerprint with a card or the recovery kit: --expect-fingerprint`,
    }
  } catch (error) {
    if (!isKvxError(error) && !(error instanceof SyntaxError)) throw error
    return { name, state: 'wrong', message: isKvxError(error) ? error.message : 'it is not JSON' }
  }
}

/** The refusal that a list of checks ends in, or undefined. @returns DAMAGED before FINDINGS */
export function verdictOf(checks: readonly Check[]): KvxError | undefined {
  const wrong = checks.filter(({ state }) => state === 'wrong')
  const [first] = wrong.length > 0 ? wrong : checks.filter(({ state }) => state === 'open')
  if (first === undefined) return undefined
  const message = `${first.name}: ${first.message}`
  if (wrong.length === 0)
    return new KvxError('FINDINGS', message, {
      hint: 'What is open is listed above; nothing was found changed.',
    })
  return new KvxError('DAMAGED', message, {
    hint: 'This is not what the people signed. Take another copy of the folder, and compare the SHA-256 on the printed script.',
  })
}
