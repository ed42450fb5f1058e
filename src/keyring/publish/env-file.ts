import { type EnvFilePlace, labelOf } from '../../config/publishers.ts'
import { KvxError } from '../../core/errors.ts'
import { decodeKey, encodeKey } from '../../core/key-encoding.ts'
import type { Secret } from '../../core/secret.ts'
import { createFile } from '../../platform/create-file.ts'
import { exists, readFileCapped } from '../../platform/files.ts'
import { replaceFile } from '../../platform/replace-file.ts'
import { inspectSlots, type Publisher, refuseReadableByAll, type SlotName, type Slots } from './publisher.ts'
import { keyLengths } from '../key-lengths.ts'

const maxEnvFileBytes = 1_048_576
const newline = 0x0a

/** A line `[export ]VAR=value` of an env file: where its value lies in the file. */
type Assignment = {
  readonly lineStart: number
  /** After the newline. */
  readonly lineEnd: number
  readonly valueStart: number
  readonly valueEnd: number
}

/** Keys as lines of an env file. Works on bytes: a key is never a JavaScript string. */
export function envFilePublisher(place: EnvFilePlace): Publisher {
  const path = place.file
  const names = { current: place.current, previous: place.previous }
  const lengths = keyLengths(place.encoding)

  async function readSlot(slot: SlotName): Promise<Secret | undefined> {
    const name = names[slot]
    if (name === undefined || !(await exists(path))) return undefined
    const { bytes } = await readFileCapped(path, { maxBytes: maxEnvFileBytes, follow: true })
    try {
      const found = findAssignment(bytes, name, path)
      if (found === undefined || found.valueStart === found.valueEnd) return undefined
      return decodeKey(bytes.subarray(found.valueStart, found.valueEnd), place.encoding, lengths).material
    } finally {
      bytes.fill(0)
    }
  }

  return {
    place: labelOf(place),
    path,
    hasPrevious: place.previous !== undefined,
    isHandedOver: false,
    readSlot,
    inspect: async () => inspectSlots(readSlot),
    check: async () => {
      if (!(await exists(path))) return
      const { bytes, facts } = await readFileCapped(path, { maxBytes: maxEnvFileBytes, follow: true })
      try {
        refuseReadableByAll(path, facts.mode)
        for (const name of [names.current, names.previous])
          if (name !== undefined) findAssignment(bytes, name, path)
      } finally {
        bytes.fill(0)
      }
    },
    write: async (slots) => writeEnvFile(place, slots),
  }
}

async function writeEnvFile(place: EnvFilePlace, slots: Slots): Promise<void> {
  const path = place.file
  if (!(await exists(path))) {
    const fresh = withAssignments(Buffer.alloc(0), place, slots)
    await createFile(path, fresh, { mode: 0o600 }).finally(() => fresh.fill(0))
    return
  }
  const { bytes, facts } = await readFileCapped(path, { maxBytes: maxEnvFileBytes })
  try {
    refuseReadableByAll(path, facts.mode)
    const next = withAssignments(bytes, place, slots)
    try {
      if (!next.equals(bytes)) await replaceFile(path, next)
    } finally {
      next.fill(0)
    }
  } finally {
    bytes.fill(0)
  }
}

function withAssignments(bytes: Buffer, place: EnvFilePlace, slots: Slots): Buffer {
  const first = withAssignment(bytes, place.current, encoded(slots.current, place), place.file)
  if (place.previous === undefined) return first
  const second = withAssignment(first, place.previous, encoded(slots.previous, place), place.file)
  // Where nothing changed, the second is the first: what is written must not be wiped.
  if (first !== bytes && first !== second) first.fill(0)
  return second
}

function encoded(material: Secret | undefined, place: EnvFilePlace): Buffer | undefined {
  return material && Buffer.from(encodeKey(material, place.encoding))
}

/** The file with one variable set, added as a last line, or its line taken out; every other byte stays. */
function withAssignment(bytes: Buffer, name: string, value: Buffer | undefined, path: string): Buffer {
  const found = findAssignment(bytes, name, path)
  if (found === undefined) {
    if (value === undefined) return bytes
    const gap = bytes.length > 0 && bytes.at(-1) !== newline ? '\n' : ''
    return Buffer.concat([bytes, Buffer.from(`${gap}${name}=`), value, Buffer.from('\n')])
  }
  return value === undefined
    ? Buffer.concat([bytes.subarray(0, found.lineStart), bytes.subarray(found.lineEnd)])
    : Buffer.concat([bytes.subarray(0, found.valueStart), value, bytes.subarray(found.valueEnd)])
}

/** @throws CONFIG_INVALID when the variable is set twice: which one counts depends on the reader */
function findAssignment(bytes: Buffer, name: string, path: string): Assignment | undefined {
  let found: Assignment | undefined
  for (let lineStart = 0; lineStart < bytes.length; ) {
    const end = bytes.indexOf(newline, lineStart)
    const lineEnd = end === -1 ? bytes.length : end + 1
    const assignment = parseLine(bytes, name, lineStart, lineEnd)
    if (assignment !== undefined) {
      if (found !== undefined) {
        throw new KvxError('CONFIG_INVALID', `${path} sets ${name} twice`, {
          hint: 'Which one counts depends on the reader: leave one line.',
        })
      }
      found = assignment
    }
    lineStart = lineEnd
  }
  return found
}

const exportWord = Buffer.from('export')

function parseLine(bytes: Buffer, name: string, lineStart: number, lineEnd: number): Assignment | undefined {
  let nameStart = skipBlanks(bytes, lineStart, lineEnd)
  const afterExport = nameStart + exportWord.length
  if (bytes.subarray(nameStart, afterExport).equals(exportWord) && isBlank(bytes[afterExport])) {
    nameStart = skipBlanks(bytes, afterExport, lineEnd)
  }
  const prefix = Buffer.from(`${name}=`)
  if (!bytes.subarray(nameStart, lineEnd).subarray(0, prefix.length).equals(prefix)) return undefined
  let valueStart = nameStart + prefix.length
  let valueEnd = lineEnd
  while (valueEnd > valueStart && isBlank(bytes[valueEnd - 1])) valueEnd--
  const quote = bytes[valueStart]
  if ((quote === 0x22 || quote === 0x27) && valueEnd - valueStart >= 2 && bytes[valueEnd - 1] === quote) {
    valueStart++
    valueEnd--
  }
  return { lineStart, lineEnd, valueStart, valueEnd }
}

function skipBlanks(bytes: Buffer, from: number, end: number): number {
  let at = from
  while (at < end && (bytes[at] === 0x20 || bytes[at] === 0x09)) at++
  return at
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x0a || byte === 0x0d || byte === 0x20 || byte === 0x09
}
