/**
 * An application that goes on sealing while a run moves its values: a process of its own with its own connection.
 *
 *   writer.ts DATABASE KEY_FILE COUNT    updates and inserts until COUNT writes are done or SIGTERM comes
 *
 * Prints `ready`, then at its end one line of JSON: what it wrote last into each record.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseSync } from 'node:sqlite'
import { bindable, columnsOf, plainTwoLevels } from '../support/application.ts'

const [path = '', keyFile = '', count = '0'] = process.argv.slice(2)
const key = { version: 1, bytes: readFileSync(keyFile) }
const database = new DatabaseSync(path, { timeout: 10_000 })
// It shall be quick, not durable.
database.exec('PRAGMA synchronous = OFF')
const columns = columnsOf(plainTwoLevels)
const put = database.prepare(
  `INSERT OR REPLACE INTO secrets (id, ${columns.join(', ')}) VALUES (?, ${columns.map(() => '?').join(', ')})`,
)
const most = Number(database.prepare('SELECT max(id) AS id FROM secrets').get()?.['id'] ?? 0)

let stopped = false
process.on('SIGTERM', () => (stopped = true))
console.log('ready')

const wrote: Record<string, number> = {}
for (let write = 1; write <= Number(count) && !stopped; write++) {
  const id = write % 4 === 0 ? most + write : 1 + ((write * 7) % most)
  const row = plainTwoLevels.seal(key, id, ` write ${write}`)
  put.run(id, ...columns.map((column) => bindable(row[column])))
  wrote[id] = write
  await sleep(1)
}
database.close()
console.log(JSON.stringify(wrote))
