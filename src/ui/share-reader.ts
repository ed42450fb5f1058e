import { Socket } from 'node:net'
import { isatty } from 'node:tty'
import { KvxError } from '../core/errors.ts'
import { placeOf, shareFaultOf } from '../core/share/faults.ts'
import { fillUnreadable } from '../core/share/fill.ts'
import { trimmedLines } from '../core/share/foreign-lines.ts'
import { readShare } from '../core/share/locate.ts'
import { splitShareTexts } from '../core/share/share-lines.ts'
import { decodeShare, type Share } from '../core/share/share-text.ts'
import { readLines } from '../platform/read-lines.ts'
import { type Answers, confirmStep } from './prompts.ts'
import { TerminalShares } from './share-terminal.ts'

/** Where shares come from: a person at a terminal, or a descriptor; never both, never an argument. */
export type ShareInput = {
  readonly interactive: boolean
  /** The next text, which the caller wipes; undefined when there is no more. */
  next(question: string): Promise<Uint8Array | undefined>
  /** Puts the terminal back. May be called more than once. */
  close(): void
}

const maxInput = 64 * 1024

/**
 * @param fd the descriptor of `--share-fd`
 * @throws NO_TERMINAL without a descriptor and without a person; IO_ERROR; USAGE for a terminal as descriptor
 */
export async function openShareInput(fd: number | undefined, answers: Answers): Promise<ShareInput> {
  if (fd === undefined) {
    if (isPersonHere(answers)) return new TerminalShares()
    throw noTerminal()
  }
  const bytes = await readShareDescriptor(fd)
  const texts = [...splitShareTexts(bytes)]
  bytes.fill(0)
  return {
    interactive: false,
    next: async () => texts.shift(),
    close: () => texts.splice(0).forEach((text) => text.fill(0)),
  }
}

function isPersonHere(answers: Answers): boolean {
  return !answers.noInput && process.stdin.isTTY && process.stderr.isTTY
}

function noTerminal(): KvxError {
  return new KvxError('NO_TERMINAL', 'shares are typed at a terminal, and there is none', {
    hint: 'Give them on an open descriptor: `kvx … --share-fd 3 3< FILE`. Shares are never arguments.',
  })
}

/** @throws KvxError USAGE for a terminal, IO_ERROR, RESOURCE_LIMIT */
async function readShareDescriptor(fd: number): Promise<Buffer> {
  if (isatty(fd)) {
    throw new KvxError('USAGE', 'that descriptor is a terminal, where shares would stay on the screen', {
      hint: 'Leave `--share-fd` out: kvx asks for them and shows nothing.',
    })
  }
  return readDescriptor(fd)
}

/** A pipe or a socket is read as it is, a file by its name under /dev/fd. */
async function readDescriptor(fd: number): Promise<Buffer> {
  let chunks: AsyncIterable<Buffer>
  try {
    chunks = new Socket({ fd, readable: true, writable: false }) as AsyncIterable<Buffer>
  } catch {
    chunks = linesWithBreaks(fd)
  }
  const bytes = Buffer.alloc(maxInput)
  let length = 0
  try {
    for await (const chunk of chunks) {
      if (length + chunk.length > maxInput) throw tooMuch()
      chunk.copy(bytes, length)
      chunk.fill(0)
      length += chunk.length
    }
  } catch (error) {
    bytes.fill(0)
    if (error instanceof KvxError && error.code === 'RESOURCE_LIMIT') throw error
    throw new KvxError('IO_ERROR', `descriptor ${fd} cannot be read`, {
      hint: 'open it in the shell: `kvx … --share-fd 3 3< FILE`',
    })
  }
  return bytes.subarray(0, length)
}

async function* linesWithBreaks(fd: number): AsyncGenerator<Buffer> {
  for await (const { line } of readLines(`/dev/fd/${fd}`)) {
    yield line
    yield Buffer.from('\n')
  }
}

function tooMuch(): KvxError {
  return new KvxError('RESOURCE_LIMIT', `there are more than ${maxInput} bytes: that is no list of shares`)
}

/**
 * The share of a text, which is wiped. Characters marked `?` are worked out where that is possible, shown to the
 * person alone, and used only after a yes.
 * @param use `check` takes a share of a rehearsal too
 * @throws KvxError DAMAGED with the place; NOT_CONFIRMED for a no
 */
export async function takeShare(
  typed: Uint8Array,
  answers: Answers,
  use: 'check' | 'key' = 'key',
): Promise<Share> {
  try {
    return readShare(typed, use)
  } catch (error) {
    if (shareFaultOf(error) !== 'UNREADABLE' || !isPersonHere(answers)) throw error
    return await askFilled(typed)
  } finally {
    typed.fill(0)
  }
}

/**
 * The one share of a custodian, typed or out of a message, to be looked at; it may be one of a rehearsal.
 * @throws KvxError INPUT_EMPTY; USAGE for more than one; otherwise as `openShareInput` and `takeShare`
 */
export async function readOneShare(fd: number | undefined, answers: Answers): Promise<Share> {
  const input = await openShareInput(fd, answers)
  try {
    const text = await input.next('Your share, typed, pasted or scanned; it is not shown:')
    if (text === undefined) {
      throw new KvxError('INPUT_EMPTY', 'no share was given', {
        hint: 'enter its 88 characters in groups of 4, as they stand on the card',
      })
    }
    const more = input.interactive ? undefined : await input.next('')
    more?.fill(0)
    if (more === undefined) return await takeShare(text, answers, 'check')
    text.fill(0)
    throw new KvxError('USAGE', 'there is more than one share: they are taken one at a time', {
      hint: 'two shares should not lie in one place; let each custodian handle their own',
    })
  } finally {
    input.close()
  }
}

/** More shares than any program makes. */
const mostForeign = 1024

/**
 * Lines of another program's shares, one share each, without white space around them. A person ends the list with
 * an empty line, unless it is known how many there must be. The caller wipes them.
 * @throws KvxError as `openShareInput`
 */
export async function readForeignLines(
  fd: number | undefined,
  answers: Answers,
  count: number | undefined,
): Promise<readonly Uint8Array[]> {
  if (fd !== undefined) {
    const bytes = await readShareDescriptor(fd)
    const lines = trimmedLines(bytes)
    bytes.fill(0)
    return lines
  }
  if (!isPersonHere(answers)) throw noTerminal()
  const input = new TerminalShares('at-line')
  const lines: Uint8Array[] = []
  try {
    while (lines.length < (count ?? mostForeign)) {
      const of = count === undefined ? '; an empty line ends the list' : ` of ${count}`
      const typed = await input.next(`Share ${lines.length + 1}${of}, typed or pasted; nothing is shown:`)
      if (typed === undefined) break
      lines.push(...trimmedLines(typed))
      typed.fill(0)
    }
    return lines
  } finally {
    input.close()
  }
}

async function askFilled(typed: Uint8Array): Promise<Share> {
  const { text, at } = fillUnreadable(typed)
  try {
    const lines = at.map((index) => {
      const { line, group, character } = placeOf(index)
      const sign = String.fromCharCode(text[index] ?? 0).toUpperCase()
      return `  line ${line}, group ${group}, character ${character}: ${sign}\n`
    })
    process.stderr.write(`Worked out from the rest of the share:\n${lines.join('')}`)
    await confirmStep('Can that be what stands on the card?', {
      yes: false,
      confirm: undefined,
      noInput: false,
    })
    return decodeShare(text)
  } finally {
    text.fill(0)
  }
}
