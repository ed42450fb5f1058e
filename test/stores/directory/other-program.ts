/**
 * A second process beside the tests: the application that goes on writing, or kvx itself to be killed. It prints
 * a line when it is ready and answers when its input ends.
 */
import { readFileSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { FileApplication, type FormatName, replace } from './application.ts'

const [mode = '', directory = '', option = ''] = process.argv.slice(2)
const say = (value: unknown): number => writeSync(1, `${JSON.stringify(value)}\n`)

/** Sets random records to texts that were never there, and tells the last text of each when its input ends. */
async function write(): Promise<void> {
  const application = new FileApplication(directory, option as FormatName)
  const pause = option === 'jsonl' ? 150 : 60 // about as long as kvx needs for half of the records
  const ids = application.rows().map(({ id }) => id)
  const written: Record<string, string> = {}
  let isOver = false
  process.stdin.on('end', () => {
    isOver = true
  })
  process.stdin.resume()
  for (let count = 0; !isOver; count++) {
    const id = ids[Math.floor(Math.random() * ids.length)] ?? ''
    application.put({ id, value: `application ${count}` })
    written[id] = `application ${count}`
    if (count === 0) say('ready')
    await sleep(pause)
  }
  say(written)
}

/** Replaces a file for each line of input, `MILLISECONDS PATH`, after so long a pause. */
function race(): void {
  const never = new Int32Array(new SharedArrayBuffer(4))
  say('ready')
  let pending = ''
  process.stdin.on('data', (chunk) => {
    pending += String(chunk)
    const lines = pending.split('\n')
    pending = lines.pop() ?? ''
    for (const line of lines) {
      const [pause = '', path = ''] = line.split(' ')
      Atomics.wait(never, 0, 0, Number(pause))
      replace(path, `application ${path}`)
      say(path)
    }
  })
}

/**
 * Replaces one file in bursts of writes, so that a second one meets what the first one set off. After each burst
 * the last text must come to stay there, bare or under the prefixes of the store. Tells how many did not.
 */
async function burst(): Promise<void> {
  const path = `${directory}/f`
  let lost = 0
  say('ready')
  for (let count = 0; count < Number(option); count++) {
    for (const write of ['first', 'second', 'third', 'last']) {
      replace(path, `${write} ${count}`)
      await sleep(Math.random() * 12)
    }
    const holds = (): boolean => readFileSync(path, 'utf8').replace(/^(kvx:)*/, '') === `last ${count}`
    await sleep(60)
    for (let tries = 0; !holds() && tries < 200; tries++) await sleep(10)
    if (!holds()) lost++
  }
  say({ lost })
}

if (mode === 'write') await write()
else if (mode === 'burst') await burst()
else race()
