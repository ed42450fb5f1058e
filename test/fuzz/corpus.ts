import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = join(import.meta.dirname, 'corpus')

/** The inputs that are kept for a target, in the order of their names. */
export function readCorpus(target: string): readonly Buffer[] {
  return names(target).map((name) => readFileSync(join(folder, target, name)))
}

/** Keeps exactly these inputs. */
export function writeCorpus(target: string, inputs: readonly Buffer[]): void {
  mkdirSync(join(folder, target), { recursive: true })
  const kept = new Map(inputs.map((input) => [nameOf(input), input]))
  for (const name of names(target)) if (!kept.has(name)) rmSync(join(folder, target, name))
  for (const [name, input] of kept) writeFileSync(join(folder, target, name), input)
}

function names(target: string): readonly string[] {
  try {
    return readdirSync(join(folder, target)).sort()
  } catch {
    return []
  }
}

function nameOf(input: Buffer): string {
  return createHash('sha256').update(input).digest('hex').slice(0, 12)
}
