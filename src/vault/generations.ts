import { join } from 'node:path'
import { isKvxError, KvxError } from '../core/errors.ts'
import type { Access } from '../platform/access.ts'
import { createFile } from '../platform/create-file.ts'
import { exists, readFileCapped } from '../platform/files.ts'
import { whileLocked } from '../platform/lingering-lock.ts'
import { replaceFile } from '../platform/replace-file.ts'
import { writeState } from '../platform/state-file.ts'

/**
 * The highest generation that was seen of each vault, so that an older copy put back is noticed. It is raised
 * after the vault is in place: a crash in between leaves it one behind, never ahead.
 */
export type GenerationMemory = {
  /** 0 where nothing is remembered. */
  remembered(vault: string): Promise<bigint>
  /** Durable when it returns. A lower one than is remembered changes nothing. */
  raise(vault: string, generation: bigint): Promise<void>
}

const maxMemoryBytes = 1_048_576
const lockWaitMs = 10_000

/** Decimal text: generations have 64 bits. */
type Generations = Readonly<Record<string, string>>

const schema = 'kvx.vaults/1'

/** The memory of a home: `vaults.json`, which nobody else can put back together with a vault. */
export function homeMemory(home: string): GenerationMemory {
  const path = join(home, 'vaults.json')
  const read = async (): Promise<Generations> => {
    if (!(await exists(path))) return {}
    const { bytes } = await readFileCapped(path, { maxBytes: maxMemoryBytes })
    return parseHomeFile(path, bytes)
  }
  return {
    remembered: async (vault) => of(await read(), vault),
    raise: async (vault, generation) => {
      if (of(await read(), vault) >= generation) return
      await whileLocked(home, { what: 'the home', waitMs: lockWaitMs }, async () => {
        const known = await read()
        if (of(known, vault) >= generation) return
        const generations = { ...known, [vault]: String(generation) }
        await writeState(path, Buffer.from(`${JSON.stringify({ schema, generations }, null, 2)}\n`))
      })
    },
  }
}

function of(generations: Generations, vault: string): bigint {
  return Object.hasOwn(generations, vault) ? BigInt(generations[vault] ?? 0) : 0n
}

function parseHomeFile(path: string, bytes: Buffer): Generations {
  let file: { readonly schema?: unknown; readonly generations?: unknown } | null
  try {
    file = JSON.parse(bytes.toString('utf8')) as typeof file
  } catch {
    throw unusable(path)
  }
  const generations = file?.schema === schema ? file.generations : undefined
  if (typeof generations !== 'object' || generations === null) throw unusable(path)
  for (const text of Object.values(generations as Record<string, unknown>)) {
    if (typeof text !== 'string' || !/^\d{1,20}$/.test(text)) throw unusable(path)
  }
  return generations as Generations
}

function unusable(path: string): KvxError {
  return new KvxError('DAMAGED', `the memory of vault generations ${path} is not what kvx wrote`, {
    hint: `It holds no key and no content. Look at it; without it an older copy of a vault is not noticed: \`mv ${path} ${path}.damaged\``,
  })
}

/**
 * `.NAME.generation` beside the vault, for stores without a home. It notices a single file put back, not a whole
 * directory. The caller holds the lock of the directory when it raises.
 */
export function directoryMemory(directory: string, access: () => Promise<Access>): GenerationMemory {
  const pathOf = (vault: string): string => join(directory, `.${vault}.generation`)
  const remembered = async (vault: string): Promise<bigint> => {
    const path = pathOf(vault)
    const bytes = await readIfAllowed(path)
    if (bytes === undefined) return 0n
    const text = bytes.toString('latin1')
    if (!/^\d{1,20}\n$/.test(text)) throw unusable(path)
    return BigInt(text.trim())
  }
  return {
    remembered,
    raise: async (vault, generation) => {
      if ((await remembered(vault)) >= generation) return
      const bytes = Buffer.from(`${generation}\n`)
      if (await exists(pathOf(vault))) await replaceFile(pathOf(vault), bytes)
      else await createFile(pathOf(vault), bytes, await access())
    },
  }
}

/** A reader who may not read the memory does without it. */
async function readIfAllowed(path: string): Promise<Buffer | undefined> {
  try {
    if (!(await exists(path))) return undefined
    return (await readFileCapped(path, { maxBytes: 64 })).bytes
  } catch (error) {
    if (isKvxError(error, 'FILE_NOT_FOUND')) return undefined
    if (isKvxError(error) && error.details['errno'] === 'EACCES') return undefined
    throw error
  }
}

/** Both of them: what either has seen counts. */
export function bothMemories(one: GenerationMemory, other: GenerationMemory): GenerationMemory {
  return {
    remembered: async (vault) => {
      const [a, b] = [await one.remembered(vault), await other.remembered(vault)]
      return a > b ? a : b
    },
    raise: async (vault, generation) => {
      await one.raise(vault, generation)
      await other.raise(vault, generation)
    },
  }
}
