import { constants } from 'node:buffer'
import { KvxError } from '../core/errors.ts'
import { MemberScanner } from './json-members.ts'
import type { VaultContent } from './vaults.ts'

/** A member's name and value as they are written in JSON. */
export type Member = { readonly rawName: Buffer; readonly value: Buffer }

/** Input is held in memory as a whole; more than a string can hold is imported, not put. */
export const maxInputBytes = constants.MAX_STRING_LENGTH

function refuseInput(reason: string): never {
  throw new KvxError('USAGE', `the input is refused: ${reason}`, {
    hint: 'Give one JSON object, e.g. `{"name":"value"}`. Nothing was changed.',
  })
}

function refuseStored(reason: string): never {
  throw new KvxError('DAMAGED', `the vault opens, but its content is not what kvx keeps in one: ${reason}`, {
    hint: 'Another program wrote it. `kvx vault export` gives its content out as it is.',
  })
}

/**
 * The members of a JSON object that somebody gives.
 * @throws USAGE for anything but one object in UTF-8 without duplicate members
 */
export function parseMembers(input: Buffer): ReadonlyMap<string, Member> {
  const members = new Map<string, Member>()
  let open: { name: string; rawName: Buffer; parts: Buffer[] } | undefined
  const scanner = new MemberScanner(
    {
      begin: (name, rawName) => {
        open = { name, rawName, parts: [] }
      },
      value: (bytes) => open?.parts.push(Buffer.from(bytes)),
      end: () => {
        if (open !== undefined)
          members.set(open.name, { rawName: open.rawName, value: Buffer.concat(open.parts) })
      },
    },
    refuseInput,
  )
  scanner.push(input)
  scanner.finish()
  return members
}

export type MemberChange = {
  readonly put: ReadonlyMap<string, Member>
  readonly remove: ReadonlySet<string>
}

/**
 * A vault's object with members changed, in one pass: what is replaced keeps its place, what is new comes last,
 * and every other value keeps its bytes.
 */
export async function* changeMembers(
  old: AsyncIterable<Buffer> | undefined,
  change: MemberChange,
): AsyncGenerator<Buffer> {
  const left = new Map(change.put)
  const out: Buffer[] = []
  let isFirst = true
  let isKept = false
  const beginMember = (rawName: Buffer): void => {
    out.push(Buffer.from(isFirst ? '' : ','), rawName, Buffer.from(':'))
    isFirst = false
  }
  const scanner = new MemberScanner(
    {
      begin: (name, raw) => {
        const replacement = left.get(name)
        isKept = replacement === undefined && !change.remove.has(name)
        if (isKept) beginMember(raw)
        if (replacement === undefined) return
        left.delete(name)
        beginMember(raw)
        out.push(replacement.value)
      },
      value: (bytes) => {
        if (isKept) out.push(bytes)
      },
      end: () => undefined,
    },
    refuseStored,
  )
  yield Buffer.from('{')
  if (old !== undefined) {
    for await (const segment of old) {
      scanner.push(segment)
      yield* out.splice(0)
    }
    scanner.finish()
  }
  for (const { rawName, value } of left.values()) {
    beginMember(rawName)
    out.push(value)
  }
  yield* out.splice(0)
  yield Buffer.from('}')
}

/** One member's value as it is written in JSON, or undefined; the whole content was checked then. */
export async function pickMember(
  segments: AsyncIterable<Buffer>,
  wanted: string,
): Promise<Buffer | undefined> {
  const parts: Buffer[] = []
  let found = false
  let isWanted = false
  let length = 0
  const scanner = new MemberScanner(
    {
      begin: (name) => {
        isWanted = name === wanted
        if (isWanted) found = true
      },
      value: (bytes) => {
        if (!isWanted) return
        length += bytes.length
        if (length > constants.MAX_STRING_LENGTH) throw tooLarge('the value', length)
        parts.push(Buffer.from(bytes))
      },
      end: () => undefined,
    },
    refuseStored,
  )
  for await (const segment of segments) scanner.push(segment)
  scanner.finish()
  return found ? Buffer.concat(parts) : undefined
}

/** The whole content in memory. @throws USAGE for more than a string can hold, before anything is read */
export async function wholeContent(content: VaultContent): Promise<Buffer> {
  if (content.length > constants.MAX_STRING_LENGTH) throw tooLarge('the vault', content.length)
  const whole = Buffer.allocUnsafeSlow(content.length)
  let at = 0
  for await (const segment of content.segments()) at += segment.copy(whole, at)
  return whole
}

function tooLarge(what: string, length: number): KvxError {
  return new KvxError(
    'USAGE',
    `${what} has ${length} bytes or more; at most ${constants.MAX_STRING_LENGTH} fit in one piece`,
    {
      hint: 'Take the whole vault out with `kvx vault export`, which streams.',
    },
  )
}

const ignore = (): void => undefined

/** Content that comes in from outside, checked while it passes. @throws USAGE as {@link parseMembers} does */
export async function* checkedContent(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const scanner = new MemberScanner({ begin: ignore, value: ignore, end: ignore }, refuseInput)
  for await (const piece of source) {
    scanner.push(Buffer.from(piece.buffer, piece.byteOffset, piece.length))
    yield piece
  }
  scanner.finish()
}
