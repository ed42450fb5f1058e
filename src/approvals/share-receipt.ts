import { resolve } from 'node:path'
import { type ReadReceipt, readReceiptStatement } from '../backup/shares/receipt-statement.ts'
import { type DealtShare, type ShareSet, shownSet } from '../backup/shares/share-set.ts'
import type { Config } from '../config/config.ts'
import type { Approver } from '../config/policy.ts'
import { KvxError } from '../core/errors.ts'
import { createFile } from '../platform/create-file.ts'
import { shownPath } from '../platform/file-errors.ts'
import { type Approval, examineSignatures, signaturesBeside } from './approvals.ts'
import { type DetachedSignature, signDetached, type SigningWith } from './detached-signature.ts'

/** The namespace of SSH signatures over receipts. */
const receiptNamespace = 'kvx-share-receipt'

/** A receipt that a custodian signed, and the signature that counts. */
export type SignedReceipt = ReadReceipt & { readonly approval: Approval }

/**
 * Signs a receipt and writes it, with the signature beside it; never over another file.
 * @throws TOOL_MISSING, TOOL_FAILED, TARGET_EXISTS
 */
export async function writeSignedReceipt(
  { bytes }: ReadReceipt,
  out: string,
  how: { readonly signing: SigningWith; readonly interactive: boolean },
): Promise<Pick<DetachedSignature, 'fingerprint'> & { readonly file: string; readonly signature: string }> {
  const { interactive } = how
  const made = await signDetached(bytes, how.signing, { namespace: receiptNamespace, interactive })
  const file = resolve(out)
  const signature = `${file}.${made.suffix}`
  await createFile(signature, made.signature, { mode: 0o644 })
  await createFile(file, bytes, { mode: 0o644 })
  return { fingerprint: made.fingerprint, file, signature }
}

/**
 * A receipt that lies beside its signature, checked against the share of the set that it is about and against the
 * keys of the share's custodian: the one that the manifest names, and those of kvx.yaml.
 * @throws FILE_NOT_FOUND; DAMAGED; FINGERPRINT_DIFFERS for another share, or without a signature of the custodian;
 * USAGE where no key of the custodian is known
 */
export async function readSignedReceipt(
  path: string,
  known: { readonly set: ShareSet; readonly config: Config; readonly keyFile: string | undefined },
): Promise<SignedReceipt> {
  const { set } = known
  const read = await readReceiptStatement(path)
  const { statement } = read
  const share = set.shares.find(({ index }) => index === statement.index)
  if (share === undefined || statement.set !== set.set || statement.digest !== share.digest) {
    throw new KvxError(
      'FINGERPRINT_DIFFERS',
      `${shownPath(path)} is about share ${statement.index} of set ${statement.set.toUpperCase()}, which is not one that was dealt in ${shownSet(set)}`,
      { hint: 'Ask for the receipt of the right share; `kvx backup list` names the sets.' },
    )
  }
  const people = keysOf(share, known)
  const files = await signaturesBeside(resolve(path))
  const { counted, uncounted } = await examineSignatures(read.bytes, files, {
    people,
    namespace: receiptNamespace,
    stranger: `it is by a key that is none of ${share.custodian}`,
  })
  const [approval] = counted
  if (approval !== undefined) return { ...read, approval }
  const why = uncounted.map(({ file, reason }) => `${file}: ${reason}`).join('; ')
  throw new KvxError(
    'FINGERPRINT_DIFFERS',
    `the receipt of share ${share.index} has no signature of ${share.custodian}${why === '' ? '' : `: ${why}`}`,
    {
      hint: `The signature lies beside the receipt, with its name and \`.asc\` or \`.sig\` behind it. ${share.custodian} makes both: \`kvx share verify --receipt FILE --sign KEY\`. Nothing was written.`,
    },
  )
}

/** The keys that sign for a custodian. */
function keysOf(
  share: DealtShare,
  { set, config, keyFile }: Parameters<typeof readSignedReceipt>[1],
): readonly Approver[] {
  const name = share.custodian
  const configured = config.keys[set.name]?.backup?.shares?.custodians.find((one) => one.name === name)
  const openpgp = [share.openpgp, configured?.openpgp?.toUpperCase()].flatMap((one) => one ?? [])
  const file = keyFile === undefined ? {} : { 'key-file': keyFile }
  const people: readonly Approver[] = [
    ...[...new Set(openpgp)].map((fingerprint) => ({ name, openpgp: fingerprint, ...file })),
    ...(configured?.ssh === undefined ? [] : [{ name, ssh: configured.ssh }]),
  ]
  if (people.length > 0) return people
  throw new KvxError('USAGE', `no key is known that signs for ${name}`, {
    hint: `Name it in kvx.yaml: \`custodians: [{ name: ${name}, ssh: "ssh-ed25519 …" }]\`. Or take the code alone: \`kvx backup confirm ${shownSet(set)} --index ${share.index} --receipt CODE\`.`,
  })
}
