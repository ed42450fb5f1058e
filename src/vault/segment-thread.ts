import { ContentTags, type TagParts } from '../core/content-tags.ts'
import { type CipherParts, SegmentCipher } from '../core/tink-streaming.ts'
import { fileError } from '../platform/file-errors.ts'
import { answerQuestions } from '../platform/threads.ts'
import { type Body, segmentMover, segmentProver, type Work } from './segment-work.ts'

/** What a thread needs; the keys come as handles and never as bytes. */
export type ThreadData = {
  /** For messages. */
  readonly path: string
  readonly body: Body
  readonly cipher: CipherParts
  readonly tags: TagParts | undefined
  /** Where the segments go; they are only proven without it. */
  readonly next: { readonly fd: number; readonly cipher: CipherParts } | undefined
}

function workOf({ body, cipher, tags, next }: ThreadData): Work {
  const opens = SegmentCipher.of(cipher)
  const kept = tags && ContentTags.of(tags)
  if (next === undefined || kept === undefined) return segmentProver(body, opens, kept)
  return segmentMover({ body, cipher: opens }, { fd: next.fd, cipher: SegmentCipher.of(next.cipher) }, kept)
}

// What a thread does: it opens segments of one file, and seals them into another. It keeps nothing of them.
answerQuestions<number>((begin) => {
  const data = begin as ThreadData
  const work = workOf(data)
  return {
    answer: (index) => {
      try {
        return { answer: work(index) ?? null }
      } catch (error) {
        throw fileError(error, 'read or write', data.path)
      }
    },
    end: () => undefined,
  }
})
