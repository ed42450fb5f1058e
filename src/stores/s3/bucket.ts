import { createHash } from 'node:crypto'
import { isKvxError, KvxError } from '../../core/errors.ts'
import type { FileRecord, RecordFormat } from '../directory/format.ts'
import { compileGlob, type Glob, globProblem, matchesAll } from '../directory/glob.ts'
import type { RecordId, RecordSet } from '../store.ts'
import type { S3Client } from './client.ts'
import type { Spelling } from './conditions.ts'

/** A bucket as the parts of the driver see it. */
export type Bucket = {
  readonly client: S3Client
  readonly prefix: string
  readonly match: Glob
  readonly format: RecordFormat
  /** The proof that the server keeps conditions, made once before the first write. */
  spelling(): Promise<Spelling>
}

/** Under this name what an object keeps besides its bytes stands among the fetched cells. */
export const headersCell = '$headers'

export function shapeError(client: S3Client, what: string): KvxError {
  return new KvxError('STORE_SHAPE', `store ${client.name} (${client.place}): ${what}`)
}

/** The patterns of a record set: the store's own, and the set's `table` where it says more. */
export function globsOf({ client, match, format }: Bucket, set: RecordSet): readonly Glob[] {
  format.check({ name: client.name, path: client.place }, set, !match.hasWildcard)
  if (set.table === match.pattern) return [match]
  const problem = globProblem(set.table)
  if (problem !== undefined) throw shapeError(client, `the pattern ${JSON.stringify(set.table)}: ${problem}`)
  return [match, compileGlob(set.table)]
}

/** The one record that an object is. @throws STORE_SHAPE */
export function recordOf(bucket: Bucket, set: RecordSet, path: string, bytes: Buffer): FileRecord {
  const { client, format } = bucket
  try {
    const [record] = format.records({ target: { name: client.name, path: client.place }, path, bytes }, set)
    if (record !== undefined) return record
  } catch (error) {
    // The hints of files are of no use here.
    if (isKvxError(error)) throw new KvxError(error.code, error.message, { details: error.details })
    throw error
  }
  throw new KvxError('BUG', 'an object is one record')
}

/** The key of a record, undefined when no object of the set can have it. */
export function keyOf(bucket: Bucket, globs: readonly Glob[], id: RecordId): string | undefined {
  const [path] = id
  if (typeof path !== 'string' || isUnreachable(path) || !matchesAll(globs, path)) return undefined
  return `${bucket.prefix}${path}`
}

/** Addresses lose such names on their way. */
export const isUnreachable = (path: string): boolean =>
  path.split('/').some((part) => part === '.' || part === '..')

const digest = (of: Uint8Array): Buffer => createHash('sha256').update(of).digest()

/** By digest, as a run compares what it wrote. */
export function sameBytes(one: { readonly bytes: Uint8Array }, bytes: Uint8Array): boolean {
  return one.bytes.length === bytes.length && digest(one.bytes).equals(digest(bytes))
}
