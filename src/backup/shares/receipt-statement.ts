import { z } from 'zod'
import { canonicalJson } from '../../core/canonical-json.ts'
import { KvxError } from '../../core/errors.ts'
import { receiptSlots } from '../../core/share/receipt.ts'
import { highestOf, setIdForm, type Share, shareDigest } from '../../core/share/share-text.ts'
import { isoNow } from '../../platform/clock.ts'
import { shownPath } from '../../platform/file-errors.ts'
import { readFileCapped } from '../../platform/files.ts'
import { normalReceipt } from '../codes.ts'
import { shareReceipt } from './receipts.ts'

/**
 * What a custodian signs after a look at the own share: which share it was, its digest, a possession receipt. Nothing
 * of the share is in it. Its bytes are canonical JSON and a line feed; the detached signature lies beside it.
 */
export const receiptSchema = 'kvx.share-receipt/1'

const line = z.string().regex(/^[^\p{Cc}]{1,200}$/u)

export const receiptStatement = z.strictObject({
  schema: z.literal(receiptSchema),
  set: z.string().regex(setIdForm),
  index: z.int().min(1).max(highestOf),
  of: z.int().min(2).max(highestOf),
  threshold: z.int().min(2).max(highestOf),
  checkValue: z.string().regex(/^[0-9A-F]{10}$/),
  /** Of the share's text, as in the manifest. */
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  /** The name in the manifest that was at hand. */
  custodian: line.nullable(),
  slot: z.int().min(1).max(receiptSlots),
  receipt: z.string().regex(/^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}$/),
  rehearsal: z.boolean(),
  at: z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
  kvxVersion: line,
})

export type ReceiptStatement = z.output<typeof receiptStatement>
export type ReadReceipt = { readonly statement: ReceiptStatement; readonly bytes: Buffer }

/** States that whoever signs it has entered this share now, whole. */
export function makeReceiptStatement(
  share: Share,
  facts: { readonly slot: number; readonly custodian: string | undefined; readonly kvxVersion: string },
): ReadReceipt {
  return encode({
    schema: receiptSchema,
    set: share.setId,
    index: share.index,
    of: share.of,
    threshold: share.threshold,
    checkValue: share.checkValue,
    digest: shareDigest(share),
    custodian: facts.custodian ?? null,
    slot: facts.slot,
    receipt: normalReceipt(shareReceipt(share, facts.slot)),
    rehearsal: share.rehearsal === true,
    at: isoNow(),
    kvxVersion: facts.kvxVersion,
  })
}

/** @throws KvxError FILE_NOT_FOUND; DAMAGED for what is not, byte for byte, what kvx writes */
export async function readReceiptStatement(path: string): Promise<ReadReceipt> {
  const { bytes } = await readFileCapped(path, { maxBytes: 64 * 1024, follow: true })
  const read = parse(bytes)
  if (read?.bytes.equals(bytes) === true) return read
  throw new KvxError('DAMAGED', `${shownPath(path)} is no receipt of a share, or was changed`, {
    hint: 'Ask the custodian for the file again: `kvx share verify --receipt FILE --sign KEY` wrote it.',
  })
}

function parse(bytes: Buffer): ReadReceipt | undefined {
  try {
    return encode(receiptStatement.parse(JSON.parse(bytes.toString('utf8'))))
  } catch {
    return undefined
  }
}

function encode(statement: ReceiptStatement): ReadReceipt {
  return { statement, bytes: Buffer.concat([canonicalJson(statement), Buffer.from('\n')]) }
}
