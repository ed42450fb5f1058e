import { describe, expect, onTestFinished, test } from 'vitest'
import { type Crew, startCrew } from '../../src/platform/threads.ts'

/** What a thread is asked: it dies as often as the shared number still says, and then answers. */
type Question = { readonly text: string; readonly deaths?: Int32Array }

const code = `
  const { parentPort } = require('node:worker_threads')
  parentPort.on('message', ({ id, question }) => {
    if (question.deaths !== undefined && Atomics.sub(question.deaths, 0, 1) > 0) process.exit(1)
    parentPort.postMessage({ id, answer: question.text })
  })`

function crewOf(size: number): Crew<Question, string> {
  const crew = startCrew<Question, string>({ code }, size, () => ({ data: undefined, buffers: [] }))
  onTestFinished(() => crew.end())
  return crew
}

function dying(times: number): Int32Array {
  const left = new Int32Array(new SharedArrayBuffer(4))
  left[0] = times
  return left
}

describe('a thread that dies', () => {
  test('is left out: its questions and those that follow are answered by another one', async () => {
    const crew = crewOf(3)
    const deaths = dying(2)
    const questions = Array.from({ length: 20 }, (_, at) => ({ text: `page ${at}`, deaths }))
    expect(await Promise.all(questions.map((question) => crew.ask(question)))).toEqual(
      questions.map(({ text }) => text),
    )
    expect(await crew.ask({ text: 'later' })).toBe('later')
  })

  test('and takes all others with it ends in an error that names the way on', async () => {
    const crew = crewOf(2)
    const asked = crew.ask({ text: 'page', deaths: dying(9) })
    await expect(asked).rejects.toMatchObject({
      code: 'BUG',
      hint: expect.stringContaining('--workers 0'),
    })
    await expect(crew.ask({ text: 'later' })).rejects.toMatchObject({ code: 'BUG' })
  })
})
