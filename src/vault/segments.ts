import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { ContentTags } from '../core/content-tags.ts'
import type { Secret } from '../core/secret.ts'
import { fileError } from '../platform/file-errors.ts'
import { randomSecret } from '../platform/random.ts'
import type { Sheet } from '../platform/temp-file.ts'
import { type Crew, type Script, scriptAt, startCrew, threadsFor } from '../platform/threads.ts'
import type { ThreadData } from './segment-thread.ts'
import { type Body, type SegmentFailure, segmentMover, segmentProver, type Work } from './segment-work.ts'
import { cipherOf, makeHead, notAuthentic, type VaultFile } from './vault-file.ts'
import type { OpenedVault } from './vaults.ts'

/** Called before each segment; what it throws stops the work. */
export type Watch = () => void

/** A thread starts in about the time in which this one moves so many segments. */
const segmentsWorthAThread = 100
/** A thread finds the next segment waiting when it is done with one. */
const aheadOfEach = 2

/**
 * Writes the content of an open vault under another key: each segment is opened, remembered, sealed and written, by
 * threads that share the segments. Memory does not grow with the file, but for 16 bytes a segment.
 * @returns what the segments hold, for {@link proveSegments}
 * @throws DAMAGED where the old file does not open, and of the file system: then the new file is of no use
 */
export async function moveSegments(
  old: OpenedVault,
  target: { readonly name: string; readonly generation: bigint; readonly key: Secret; readonly sheet: Sheet },
  watch: Watch,
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
        path: old.file.reader.path,
        body,
        cipher: opening.parts(),
        tags: tags.parts(),
        next: { fd: sheet.fd, cipher: head.cipher.parts() },
      }),
    }
    // Sent to the medium while the work goes on, little is left for the fsync at its end.
    const failure = await meanwhile(async () => sheet.flush(), share(job, watch))
    if (failure !== undefined) throw notAuthentic(old.file, failure.index)
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
  watch: Watch,
): Promise<SegmentFailure | undefined> {
  const cipher = cipherOf(file, key)
  const body = bodyOf(file)
  try {
    const failure = await share(
      {
        count: file.segments.count,
        here: () => segmentProver(body, cipher, tags),
        data: () => ({
          path: file.reader.path,
          body,
          cipher: cipher.parts(),
          tags: tags?.parts(),
          next: undefined,
        }),
      },
      watch,
    )
    if (failure === undefined) await file.reader.requireUnchanged()
    return failure
  } finally {
    cipher.wipe()
  }
}

function bodyOf({ reader, headerBytes }: VaultFile): Body {
  return { fd: reader.fd, at: headerBytes.length, length: reader.facts.size - headerBytes.length }
}

type Job = {
  readonly count: number
  readonly here: () => Work
  readonly data: () => ThreadData
}

/** @returns the first failure that was met */
async function share(job: Job, watch: Watch): Promise<SegmentFailure | undefined> {
  const size = Math.min(threadsFor(job.count, 2 * segmentsWorthAThread), job.count)
  const script = size > 0 ? await segmentScript() : undefined
  return script === undefined
    ? inThisThread(job, watch)
    : inThreads(
        startCrew(script, size, () => ({ data: job.data(), buffers: [] })),
        job.count,
        watch,
      )
}

async function inThisThread({ count, here, data }: Job, watch: Watch): Promise<SegmentFailure | undefined> {
  const work = here()
  for (let index = 0; index < count; index++) {
    await setImmediate() // lets signals in
    watch()
    try {
      const failure = work(index)
      if (failure !== undefined) return failure
    } catch (error) {
      throw fileError(error, 'read or write', data().path)
    }
  }
  return undefined
}

/** However it ends, each segment that was begun is done by then: its plaintext is wiped. */
async function inThreads(
  crew: Crew<number, SegmentFailure | null>,
  count: number,
  watch: Watch,
): Promise<SegmentFailure | undefined> {
  let next = 0
  let failure: SegmentFailure | undefined
  const lane = async (): Promise<void> => {
    while (next < count && failure === undefined) {
      watch()
      failure = (await crew.ask(next++)) ?? failure
    }
  }
  try {
    const lanes = Array.from({ length: crew.size * aheadOfEach }, async () =>
      lane().catch((error: unknown) => {
        next = count
        throw error
      }),
    )
    const ends = await Promise.allSettled(lanes)
    for (const end of ends) if (end.status === 'rejected') throw end.reason
    return failure
  } finally {
    await crew.end()
  }
}

/** Beside the program where that is built, in the build where the sources run, and in the executable. */
async function segmentScript(): Promise<Script | undefined> {
  const name = 'segment-thread.cjs'
  return scriptAt(join(import.meta.dirname, name), join(import.meta.dirname, '../../dist/cli', name))
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
