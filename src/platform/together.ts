/** A job that is done for many as cheaply as for one. Answers each in the order in which they asked. */
export type SharedJob<Asked, Answer> = (
  asked: readonly Asked[],
) => Promise<readonly PromiseSettledResult<Answer>[]>

/** Those who work side by side and share such jobs. */
export type Company = {
  share<Asked, Answer>(job: SharedJob<Asked, Answer>, asked: Asked): Promise<Answer>
}

/** Of one who has nobody to wait for. */
export const alone: Company = {
  share: async (job, asked) => {
    const queue = new Queue(job)
    const answer = queue.add(asked)
    await queue.work()
    return await answer
  },
}

/**
 * Works on all items side by side. Whoever comes to a shared job waits there until each of the others has come to
 * one too or has ended; then it is done once for all who wait for it. Nothing goes wrong where they come to
 * different ones: each is done then.
 */
export async function together<Item, Result>(
  items: readonly Item[],
  work: (item: Item, company: Company) => Promise<Result>,
): Promise<readonly PromiseSettledResult<Result>[]> {
  const company = new Gathering(items.length)
  return await Promise.allSettled(
    items.map(async (item) => {
      try {
        return await work(item, company)
      } finally {
        company.leave()
      }
    }),
  )
}

class Gathering implements Company {
  #busy: number
  readonly #queues = new Map<unknown, Queue<unknown, unknown>>()

  constructor(members: number) {
    this.#busy = members
  }

  async share<Asked, Answer>(job: SharedJob<Asked, Answer>, asked: Asked): Promise<Answer> {
    const queue = (this.#queues.get(job) as Queue<Asked, Answer> | undefined) ?? new Queue(job)
    this.#queues.set(job, queue as Queue<unknown, unknown>)
    const answer = queue.add(asked)
    this.leave()
    return await answer
  }

  /** One who waits keeps nobody else waiting, nor does one who has ended. */
  leave(): void {
    this.#busy--
    if (this.#busy > 0) return
    const queues = [...this.#queues.values()]
    this.#queues.clear()
    for (const queue of queues) {
      this.#busy += queue.length
      void queue.work()
    }
  }
}

type Waiting<Asked, Answer> = {
  readonly asked: Asked
  readonly done: (answer: Answer) => void
  readonly fail: (error: unknown) => void
}

class Queue<Asked, Answer> {
  readonly #job: SharedJob<Asked, Answer>
  readonly #waiting: Waiting<Asked, Answer>[] = []

  constructor(job: SharedJob<Asked, Answer>) {
    this.#job = job
  }

  get length(): number {
    return this.#waiting.length
  }

  async add(asked: Asked): Promise<Answer> {
    return await new Promise((done, fail) => this.#waiting.push({ asked, done, fail }))
  }

  /** Never fails itself: the ones who wait hear of it. */
  async work(): Promise<void> {
    try {
      const answers = await this.#job(this.#waiting.map(({ asked }) => asked))
      for (const [index, { done, fail }] of this.#waiting.entries()) {
        const answer = answers[index]
        if (answer?.status === 'fulfilled') done(answer.value)
        else fail(answer?.reason ?? new TypeError('a shared job answers everybody'))
      }
    } catch (error) {
      for (const { fail } of this.#waiting) fail(error)
    }
  }
}
