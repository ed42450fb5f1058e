import { KvxError } from '../core/errors.ts'
import { isWhole, lengthOf } from '../core/share/share-lines.ts'
import type { ShareInput } from './share-reader.ts'

const maxTyped = 1024
/** A scanner sends its line break a moment after the text; it must not answer the next question. */
const settleMs = 80

type Ending = { readonly kind: 'text' } | { readonly kind: 'end' } | { readonly kind: 'cancel' }

const signalExits = { SIGHUP: 129, SIGTERM: 143 } as const

/**
 * Reads shares from a person: typed, pasted in one or four lines, or from a scanner that types. Nothing of what
 * is entered appears: a full group of 4 is shown as ✓. The text is complete with its last character; an empty line
 * hands over what there is. The terminal is raw until `close`, so that nothing is echoed in between either.
 */
export class TerminalShares implements ShareInput {
  readonly interactive = true
  readonly #typed = new Uint8Array(maxTyped)
  #length = 0
  #pending: Buffer = Buffer.alloc(0)
  #inPaste = false
  #escape: string | undefined
  #isOpen = false
  /** A share of kvx is complete with its last character, a line of another program at its end. */
  readonly #ends: 'at-length' | 'at-line'
  readonly #restore = (): void => this.close()
  readonly #onSignal = (signal: keyof typeof signalExits): void => {
    this.close()
    process.exit(signalExits[signal])
  }

  constructor(ends: 'at-length' | 'at-line' = 'at-length') {
    this.#ends = ends
  }

  async next(question: string): Promise<Uint8Array | undefined> {
    this.#open()
    process.stderr.write(`${question}\n`)
    this.#draw()
    const ending = await this.#read()
    process.stderr.write('\r\n')
    if (ending.kind === 'cancel') {
      this.close()
      throw new KvxError('CANCELLED', 'stopped at the prompt; nothing was changed')
    }
    const text = this.#typed.slice(0, this.#length)
    this.#clear()
    return ending.kind === 'end' ? undefined : text
  }

  close(): void {
    this.#clear()
    this.#pending.fill(0)
    if (!this.#isOpen) return
    this.#isOpen = false
    process.stdin.pause()
    process.stdin.setRawMode(false)
    process.stderr.write('\x1b[?2004l')
    process.off('exit', this.#restore)
    for (const signal of ['SIGHUP', 'SIGTERM'] as const) process.off(signal, this.#onSignal)
  }

  /** Raw mode is set each time: a prompt in between sets it back. */
  #open(): void {
    process.stdin.setRawMode(true)
    if (this.#isOpen) return
    this.#isOpen = true
    process.stderr.write('\x1b[?2004h')
    process.once('exit', this.#restore)
    for (const signal of ['SIGHUP', 'SIGTERM'] as const) process.once(signal, this.#onSignal)
  }

  async #read(): Promise<Ending> {
    return new Promise((done) => {
      let settling: NodeJS.Timeout | undefined
      const finish = (ending: Ending): void => {
        process.stdin.off('data', onData)
        process.stdin.off('end', onEnd)
        process.stdin.pause()
        clearTimeout(settling)
        done(ending)
      }
      const onEnd = (): void => finish({ kind: 'end' })
      const onData = (chunk: Buffer): void => {
        if (settling !== undefined) {
          this.#pending = Buffer.concat([this.#pending, chunk])
          return
        }
        const ending = this.#take(chunk)
        this.#draw()
        if (ending?.kind === 'text') settling = setTimeout(() => finish(ending), settleMs)
        else if (ending !== undefined) finish(ending)
      }
      process.stdin.on('data', onData)
      process.stdin.on('end', onEnd)
      process.stdin.resume()
      const waiting = this.#pending
      this.#pending = Buffer.alloc(0)
      if (waiting.length > 0) onData(waiting)
    })
  }

  /** Takes a chunk up to the end of a share; what follows waits for the next one. */
  #take(chunk: Buffer): Ending | undefined {
    for (const [at, code] of chunk.entries()) {
      const ending = this.#key(code, chunk.subarray(at + 1))
      if (ending === undefined) continue
      this.#pending = Buffer.from(chunk.subarray(at + 1))
      chunk.fill(0)
      return ending
    }
    chunk.fill(0)
    return undefined
  }

  #key(code: number, rest: Buffer): Ending | undefined {
    if (this.#escape !== undefined || code === 0x1b) return this.#escaped(code)
    if (code === 0x03) return { kind: 'cancel' }
    if (code === 0x04) return { kind: this.#isEmpty ? 'end' : 'text' }
    if (code === 0x15) this.#clear()
    else if (code === 0x7f || code === 0x08) this.#rubOut()
    else if (code === 0x0d || code === 0x0a) return this.#lineBreak(rest)
    else if (this.#length < maxTyped) this.#typed[this.#length++] = code
    if (this.#ends === 'at-line' || !isWhole(this.#typed.subarray(0, this.#length))) return undefined
    const [follows] = rest
    // More characters in the same paste make the text too long, which its check says.
    const isOver = follows === undefined || follows === 0x0d || follows === 0x0a || follows === 0x1b
    return isOver ? { kind: 'text' } : undefined
  }

  /** A line break joins lines. On an empty line it hands over an unfinished text, unless it was pasted. */
  #lineBreak(rest: Buffer): Ending | undefined {
    if (this.#ends === 'at-line') return { kind: this.#isEmpty ? 'end' : 'text' }
    if (this.#isEmpty) return undefined
    const before = this.#typed[this.#length - 1]
    const isEmptyLine = before === 0x0d || before === 0x0a
    if (isEmptyLine) return rest.length === 0 && !this.#inPaste ? { kind: 'text' } : undefined
    if (this.#length < maxTyped) this.#typed[this.#length++] = 0x0a
    return undefined
  }

  /** Arrow keys and their like are dropped; the two that frame a paste are noted. */
  #escaped(code: number): undefined {
    this.#escape = (this.#escape ?? '') + String.fromCharCode(code)
    const isLonger = this.#escape.length === 1 || /^(\[[0-9;?]*|O)$/.test(this.#escape.slice(1))
    if (isLonger && this.#escape.length < 12) return undefined
    if (this.#escape === '\x1b[200~') this.#inPaste = true
    if (this.#escape === '\x1b[201~') this.#inPaste = false
    this.#escape = undefined
    return undefined
  }

  #rubOut(): void {
    const count = this.#count
    while (this.#length > 0 && this.#count === count) this.#typed[--this.#length] = 0
  }

  get #isEmpty(): boolean {
    return this.#count === 0
  }

  get #count(): number {
    return lengthOf(this.#typed.subarray(0, this.#length))
  }

  #clear(): void {
    this.#typed.fill(0)
    this.#length = 0
  }

  #draw(): void {
    const count = this.#count
    const groups = '✓'.repeat(Math.floor(count / 4)).replaceAll(/(.{6})(?=.)/g, '$1 ')
    process.stderr.write(`\r\x1b[2K  ${groups}${'·'.repeat(count % 4)}`)
  }
}
