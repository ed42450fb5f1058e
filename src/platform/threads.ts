import { availableParallelism } from 'node:os'
import { basename } from 'node:path'
import { parentPort, Worker, type Transferable, workerData } from 'node:worker_threads'
import { type ErrorCode, isKvxError, KvxError } from '../core/errors.ts'
import { exists } from './files.ts'

/** Starting a thread takes as long as it takes to open some thousand records. */
const worthwhile = 20_000
/** One thread reads and writes the store; it cannot keep more than these busy. */
const most = 8
/** Two processors are kept busy by one thread and its garbage collector: there more threads gain nothing. */
const leastProcessors = 4

let asked: number | undefined

/** What the operator says instead of the default: so many threads beside the first, however little the work. */
export function useThreads(count: number | undefined): void {
  asked = count
}

/**
 * How many threads shall work on so many records beside the one that reads and writes them; 0 for none.
 * @param worth how many are worth it, for records of another kind
 */
export function threadsFor(records: number, worth = worthwhile): number {
  if (asked !== undefined) return Math.min(asked, 64)
  const processors = availableParallelism()
  return records < worth || processors < leastProcessors ? 0 : Math.min(processors - 1, most)
}

/** Threads that answer questions, each answer to its own question, in any order. */
export type Crew<Question, Answer> = {
  readonly size: number
  /**
   * A question whose thread is gone is put to another one, so it changes nothing by itself.
   * @throws what the thread threw, rebuilt; BUG when all threads are gone
   */
  ask(question: Question): Promise<Answer>
  /** Lets them wipe what they hold, and ends them. Questions without an answer are given up. */
  end(): Promise<void>
}

/** What a thread begins with. The buffers are handed over: nothing of them stays here, and no copy is made. */
export type Start = { readonly data: unknown; readonly buffers: readonly ArrayBuffer[] }

/** What threads run: a file, or in the executable, which has none, the code of one. */
export type Script = { readonly file: string } | { readonly code: string }

/**
 * The first of these files that there is: beside the bundle, or where the sources lie. The executable has them inside.
 * @param paths absolute; all of one name, but for what follows its last dot
 */
export async function scriptAt(...paths: readonly [string, ...string[]]): Promise<Script | undefined> {
  for (const file of paths) if (await exists(file)) return { file }
  const { isSea, getAsset } = process.getBuiltinModule('node:sea')
  if (!isSea()) return undefined
  return {
    code: `globalThis.part = ${JSON.stringify(basename(paths[0]))};\n${getAsset('thread.cjs', 'utf8')}`,
  }
}

/** @param script its `answerQuestions` is what they do */
export function startCrew<Question, Answer>(
  script: Script,
  size: number,
  start: () => Start,
): Crew<Question, Answer> {
  const members = Array.from({ length: size }, () => new Member<Question | 'end', Answer>(script, start()))
  return {
    size,
    ask: async (question) => {
      for (;;) {
        const idlest = idlestOf(members)
        try {
          return await idlest.ask(question)
        } catch (error) {
          if (!idlest.isGone) throw error
        }
      }
    },
    end: async () => {
      await Promise.all(members.map(async (member) => member.end()))
    },
  }
}

/** @throws BUG where none is left */
function idlestOf<Question, Answer>(members: readonly Member<Question, Answer>[]): Member<Question, Answer> {
  const left = members.filter(({ isGone }) => !isGone)
  if (left.length === 0) throw lost()
  return left.reduce((one, other) => (other.waiting < one.waiting ? other : one))
}

type Reply<Answer> =
  | { readonly id: number; readonly answer: Answer }
  | { readonly id: number; readonly error: ErrorData }

type ErrorData = Pick<KvxError, 'code' | 'message' | 'hint' | 'details'>

type Waiting<Answer> = {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: KvxError) => void
}

class Member<Question, Answer> {
  readonly #worker: Worker
  readonly #open = new Map<number, Waiting<Answer>>()
  #asked = 0
  isGone = false

  constructor(script: Script, { data, buffers }: Start) {
    // It needs nothing of the environment, and what it prints would be no part of any document.
    const transferList = buffers as ArrayBuffer[]
    const source = 'code' in script ? script.code : script.file
    const options = { workerData: data, transferList, env: {}, stdout: true, stderr: true }
    this.#worker = new Worker(source, { ...options, eval: 'code' in script })
    this.#worker.on('message', (reply: Reply<Answer>) => this.#take(reply))
    this.#worker.on('error', () => this.#lose())
    this.#worker.on('exit', () => this.#lose())
  }

  get waiting(): number {
    return this.#open.size
  }

  async ask(question: Question): Promise<Answer> {
    if (this.isGone) throw lost()
    const id = this.#asked++
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject })
      this.#worker.postMessage({ id, question }, [])
    })
  }

  #take(reply: Reply<Answer>): void {
    const waiting = this.#open.get(reply.id)
    this.#open.delete(reply.id)
    if ('answer' in reply) waiting?.resolve(reply.answer)
    else waiting?.reject(rebuilt(reply.error))
  }

  #lose(): void {
    this.isGone = true
    for (const { reject } of this.#open.values()) reject(lost())
    this.#open.clear()
  }

  async end(): Promise<void> {
    if (!this.isGone) await this.ask('end' as Question).catch(() => undefined)
    await this.#worker.terminate()
  }
}

/** An error of a thread may carry what it worked on: it is never passed on. */
function lost(): KvxError {
  return new KvxError('BUG', 'the threads of kvx ended unexpectedly', {
    hint: 'Nothing is lost. `kvx run resume --workers 0` goes on without threads, if a run is open.',
  })
}

function rebuilt({ code, message, hint, details }: ErrorData): KvxError {
  return new KvxError(code, message, { details, ...(hint === undefined ? {} : { hint }) })
}

/** What a thread answers, and the buffers of it that are handed over. */
export type Answered = { readonly answer: unknown; readonly buffers?: readonly ArrayBuffer[] }

export type Answering<Question> = { answer(question: Question): Answered; end(): void }

/**
 * The other side: answers questions one after the other until the end.
 * @param begin gets what the thread was started with; `end` wipes what it holds
 */
export function answerQuestions<Question>(begin: (data: unknown) => Answering<Question>): void {
  const port = parentPort
  if (port === null) throw new TypeError('this runs in a thread')
  const answering = begin(workerData)
  port.on('message', ({ id, question }: { readonly id: number; readonly question: Question | 'end' }) => {
    try {
      if (question === 'end') answering.end()
      const { answer: found, buffers = [] } =
        question === 'end' ? { answer: null } : answering.answer(question)
      port.postMessage({ id, answer: found }, buffers as Transferable[])
    } catch (error) {
      port.postMessage({ id, error: errorData(error) })
    }
  })
}

function errorData(error: unknown): ErrorData {
  if (isKvxError(error)) {
    const { code, message, hint, details } = error
    return { code, message, hint, details }
  }
  const code: ErrorCode = 'BUG'
  return {
    code,
    message: 'a thread of kvx met an error that is none of the catalogue',
    hint: undefined,
    details: {},
  }
}
