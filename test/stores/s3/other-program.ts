/** A second process beside the tests: the application, which goes on writing until its input ends. */
import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { S3Application } from '../../support/s3-application.ts'

const [endpoint = '', bucket = '', prefix = '', format = ''] = process.argv.slice(2)
const say = (value: unknown): number => writeSync(1, `${JSON.stringify(value)}\n`)

const application = new S3Application({ endpoint, bucket })
const keys = (await application.keys()).filter((key) => key.startsWith(prefix))
const written: Record<string, string> = {}
let isOver = false
process.stdin.on('end', () => {
  isOver = true
})
process.stdin.resume()
for (let count = 0; !isOver; count++) {
  const key = keys[Math.floor(Math.random() * keys.length)] ?? ''
  const [id, value] = [key.slice(prefix.length), `application ${count}`]
  await application.put(key, format === 'json' ? JSON.stringify({ id, value }) : value)
  written[id] = value
  if (count === 0) say('ready')
  await sleep(4)
}
say(written)
