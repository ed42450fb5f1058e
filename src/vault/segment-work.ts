import type { ContentTags } from '../core/content-tags.ts'
import { aes256GcmHkdf1Mb, planSegments, type SegmentCipher } from '../core/tink-streaming.ts'
import { readAllAt, writeAllAt } from '../platform/positioned.ts'

/** Where the body of a vault file lies. */
export type Body = {
  /** An open descriptor. */
  readonly fd: number
  /** Of the body's first byte. */
  readonly at: number
  /** Of the stream header and the segments, in bytes. */
  readonly length: number
}

export type SegmentFailure = {
  readonly index: number
  /** It does not open, or holds something else than before. */
  readonly what: 'unreadable' | 'different'
}

/** Work on a segment by its number; tells what is wrong with it. It waits for the files. */
export type Work = (index: number) => SegmentFailure | undefined

const room = (): Buffer => Buffer.allocUnsafeSlow(aes256GcmHkdf1Mb.segmentLength)

/**
 * The work on one segment of a body that goes to the same place of another file: it is opened, its content is
 * remembered by a tag, it is sealed under the new key and written. Its plaintext is wiped when it returns.
 */
export function segmentMover(
  old: { readonly body: Body; readonly cipher: SegmentCipher },
  next: { readonly fd: number; readonly cipher: SegmentCipher },
  tags: ContentTags,
): Work {
  const plan = planSegments(aes256GcmHkdf1Mb, old.body.length)
  const [lain, plain, sealed] = [room(), room(), room()]
  return (index) => {
    const { offset, length, isLast } = plan.at(index)
    const at = old.body.at + offset
    readAllAt(old.body.fd, lain.subarray(0, length), at)
    const content = old.cipher.open(index, isLast, lain.subarray(0, length), plain)
    if (content === undefined) return { index, what: 'unreadable' }
    try {
      tags.keep(index, content)
      writeAllAt(next.fd, next.cipher.seal(index, isLast, content, sealed), at)
    } finally {
      content.fill(0)
    }
    return undefined
  }
}

/** The proof of one segment: it opens, and holds what was remembered of it. */
export function segmentProver(body: Body, cipher: SegmentCipher, tags?: ContentTags): Work {
  const plan = planSegments(aes256GcmHkdf1Mb, body.length)
  const [lain, plain] = [room(), room()]
  return (index) => {
    const { offset, length, isLast } = plan.at(index)
    readAllAt(body.fd, lain.subarray(0, length), body.at + offset)
    const content = cipher.open(index, isLast, lain.subarray(0, length), plain)
    if (content === undefined) return { index, what: 'unreadable' }
    const isSame = tags?.agrees(index, content) ?? true
    content.fill(0)
    return isSame ? undefined : { index, what: 'different' }
  }
}
