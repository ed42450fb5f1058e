import { ContentTags, type TagParts } from '../core/content-tags.ts'
import { type CipherParts, SegmentCipher } from '../core/tink-streaming.ts'
import { serve } from '../platform/threads.ts'
import { type Body, type SegmentFailure, segmentMover, segmentProver } from './segment-work.ts'

/** What a thread needs; the keys come as handles and never as bytes. */
export type ThreadData = {
  readonly body: Body
  readonly cipher: CipherParts
  readonly tags: TagParts | undefined
  /** Where the segments go; they are only proven without it. */
  readonly next: { readonly fd: number; readonly cipher: CipherParts } | undefined
}

serve<ThreadData, SegmentFailure>(({ body, cipher, tags, next }) => {
  const opens = SegmentCipher.of(cipher)
  const kept = tags && ContentTags.of(tags)
  if (next === undefined || kept === undefined) return segmentProver(body, opens, kept)
  return segmentMover({ body, cipher: opens }, { fd: next.fd, cipher: SegmentCipher.of(next.cipher) }, kept)
})
