import { join } from 'node:path'
import { ContentTags } from '../core/content-tags.ts'
import type { Secret } from '../core/secret.ts'
import { fileError } from '../platform/file-errors.ts'
import { exists } from '../platform/files.ts'
import { randomSecret } from '../platform/random.ts'
import type { Sheet } from '../platform/temp-file.ts'
import { inThisThread, inThreads, usefulThreads, type Work, type WorkEnd } from '../platform/threads.ts'
import type { ThreadData } from './segment-thread.ts'
import { type Body, type SegmentFailure, segmentMover, segmentProver } from './segment-work.ts'
import { cipherOf, makeHead, notAuthentic, type VaultFile } from './vault-file.ts'
import type { OpenedVault } from './vaults.ts'

export type Effort = {
  /** Called now and then, before each piece of work that this thread does itself; what it throws stops all of it. */
  readonly watch: () => void
  /** At most so many threads; as many as there are processors, up to four, when undefined. */
  readonly threads?: number | undefined
}

/** A thread starts in about the time in which this one moves so many segments. */
const segmentsWorthAThread = 100

/**
 * Writes the content of an open vault under another key: each segment is opened, remembered, sealed and written, by
 * threads that share the segments. Memory does not grow with the file, but for 16 bytes a segment.
 * @returns what the segments hold, for {@link proveSegments}
 * @throws DAMAGED where the old file does not open, and of the file system: then the new file is of no use
 */
export async function moveSegments(
  old: OpenedVault,
  target: { readonly name: string; readonly generation: bigint; readonly key: Secret; readonly sheet: Sheet },
  effort: Effort,
): Promise<ContentTags> {
  const { sheet } = target
  const head = makeHead(target)
  const opening = cipherOf(old.file, old.key)
  const secret = randomSecret(32)
  try {
    await sheet.write(head.bytes)
    const { count } = old.file.segments
    const tags = ContentTags.make(count, secret)
    const body = bodyOf(old.file)
    const job: Job = {
      count,
      here: () => segmentMover({ body, cipher: opening }, { fd: sheet.fd, cipher: head.cipher }, tags),
      data: () => ({
        body,
        cipher: opening.parts(),
        tags: tags.parts(),
        next: { fd: sheet.fd, cipher: head.cipher.parts() },
      }),
    }
    // Sent to the medium while the work goes on, little is left for the fsync at its end.
    const end = await meanwhile(async () => sheet.flush(), share(job, effort))
    requireRead(end, old.file)
    if (end.failure !== undefined) throw notAuthentic(old.file, end.failure.index)
    sheet.wrote(body.at + body.length - head.bytes.length)
    await old.file.reader.requireUnchanged()
    return tags
  } finally {
    secret.wipe()
    head.cipher.wipe()
    opening.wipe()
  }
}

/**
 * Opens all segments of a file, and compares what they hold with what was remembered.
 * @param tags of the content that they shall hold; without them opening is enough
 * @returns the first failure that a thread met, or undefined
 */
export async function proveSegments(
  file: VaultFile,
  key: Secret,
  tags: ContentTags | undefined,
  effort: Effort,
): Promise<SegmentFailure | undefined> {
  const cipher = cipherOf(file, key)
  const body = bodyOf(file)
  try {
    const end = await share(
      {
        count: file.segments.count,
        here: () => segmentProver(body, cipher, tags),
        data: () => ({ body, cipher: cipher.parts(), tags: tags?.parts(), next: undefined }),
      },
      effort,
    )
    requireRead(end, file)
    if (end.failure === undefined) await file.reader.requireUnchanged()
    return end.failure
  } finally {
    cipher.wipe()
  }
}

function bodyOf({ reader, headerBytes }: VaultFile): Body {
  return { fd: reader.fd, at: headerBytes.length, length: reader.facts.size - headerBytes.length }
}

type Job = {
  readonly count: number
  readonly here: () => Work<SegmentFailure>
  readonly data: () => ThreadData
}

async function share({ count, here, data }: Job, effort: Effort): Promise<WorkEnd<SegmentFailure>> {
  const most = Math.min(effort.threads ?? usefulThreads(), Math.floor(count / segmentsWorthAThread))
  const script = most > 1 ? await threadScript() : undefined
  const shared = { count, watch: effort.watch }
  return script === undefined ? inThisThread(here(), shared) : inThreads(script, most, data(), shared)
}

/** Beside the program where that is built, in the build where the sources run; the executable has none. */
async function threadScript(): Promise<string | undefined> {
  for (const folder of ['.', '../../dist/cli']) {
    const path = join(import.meta.dirname, folder, 'segment-thread.cjs')
    if (await exists(path)) return path
  }
  return undefined
}

const flushEveryMs = 100

/** Does something again and again until work has ended; a failure of either is thrown when both have. */
async function meanwhile<T>(act: () => Promise<void>, work: Promise<T>): Promise<T> {
  let isDone = false
  const working = work.finally(() => (isDone = true))
  const acting = (async () => {
    for (;;) {
      await Promise.race([working, new Promise((done) => setTimeout(done, flushEveryMs))])
      if (isDone) return
      await act()
    }
  })()
  const [result, other] = await Promise.allSettled([working, acting])
  if (result.status === 'rejected') throw result.reason
  if (other.status === 'rejected') throw other.reason
  return result.value
}

function requireRead({ errno }: WorkEnd<SegmentFailure>, file: VaultFile): void {
  if (errno !== undefined) throw fileError({ code: errno }, 'read or write', file.reader.path)
}
