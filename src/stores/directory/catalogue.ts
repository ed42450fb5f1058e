import type { CatalogueTable, RecordSet } from '../store.ts'
import { openBody } from './body.ts'
import { idKey } from './format.ts'
import type { Directory } from './record-files.ts'
import { walk } from './walk.ts'

/** So many files are opened to see what members there are, and so many documents of each. */
const sampledFiles = 20
const sampledDocuments = 200

/** Members by which documents are named, the most telling first. */
const idMembers = ['_id.$oid', '_id', 'id', 'uuid', 'key']

type Members = Map<string, string>

/** The records of the store's pattern, and in documents of JSON the members that a sample of them has. */
export async function readCatalogue(directory: Directory): Promise<readonly CatalogueTable[]> {
  const { target, match, format } = directory
  const table = match.pattern
  const files: string[] = []
  let count = 0n
  for await (const found of walk(target, [match])) {
    const paths = found.flatMap(({ kind, path }) => (kind === 'file' ? [path] : []))
    count += BigInt(paths.length)
    files.push(...paths.slice(0, sampledFiles - files.length))
  }
  if (format.membersOf === undefined) {
    const id = format.sizes === undefined ? ['path'] : ['path', 'index']
    const records = format.sizes === undefined ? count : undefined
    return [{ table, id, columns: [{ name: 'content', type: 'bytes' }], records }]
  }
  const members: Members = new Map()
  for (const path of files) await collect(directory, path, members)
  const id = format.isShared ? await lineId(directory, files, members) : ['path']
  const columns = [...members].filter(([name]) => !id.includes(name)).map(([name, type]) => ({ name, type }))
  return [{ table, id, columns, records: format.isShared ? undefined : count }]
}

async function collect(directory: Directory, path: string, members: Members): Promise<void> {
  const { format } = directory
  const body = await openBody(directory, path)
  if (body === undefined) return
  try {
    let left = sampledDocuments
    for await (const { start, end } of body.records(numbered(directory))) {
      for (const { column, kind } of format.membersOf?.(await body.slice(start, end)) ?? []) {
        const known = members.get(column)
        if (known === undefined || known === 'null') members.set(column, kind)
      }
      if (--left === 0) return
    }
  } finally {
    await body.close()
  }
}

/** Records by what every file has. */
function numbered({ match, format }: Directory): RecordSet {
  return { table: match.pattern, id: format.isShared ? ['path', 'line'] : ['path'], columns: [] }
}

/** A member that is unique in the sampled lines of each file, else the number of the line. */
async function lineId(
  directory: Directory,
  files: readonly string[],
  members: Members,
): Promise<readonly string[]> {
  const path = directory.match.hasWildcard ? ['path'] : []
  for (const member of idMembers) {
    const kind = members.get(member)
    if ((kind === 'text' || kind === 'number') && (await isUnique(directory, files, member))) {
      return [...path, member]
    }
  }
  return [...path, 'line']
}

async function isUnique(directory: Directory, files: readonly string[], member: string): Promise<boolean> {
  const set: RecordSet = { ...numbered(directory), columns: [member] }
  for (const file of files) {
    const body = await openBody(directory, file)
    if (body === undefined) continue
    const seen = new Set<string>()
    try {
      for await (const { cells } of body.records(set)) {
        const cell = cells[member] ?? null
        const key = idKey([cell])
        if (cell === null || cell instanceof Uint8Array || seen.has(key)) return false
        seen.add(key)
        if (seen.size === sampledDocuments) break
      }
    } finally {
      await body.close()
    }
  }
  return true
}
