import { checkValueOf } from '../core/fingerprint.ts'
import type { VaultFacts } from '../vault/vaults.ts'
import { columns, count } from './columns.ts'

/** A vault of the list; `facts` are missing where nothing was written yet. */
export type ListedVault = {
  readonly name: string
  readonly path: string
  readonly facts: VaultFacts | undefined
  /** `tk@2`, or which of two key files; undefined for a key that is not known here. */
  readonly key: string | undefined
}

export function listData({ name, path, facts, key }: ListedVault): object {
  return {
    name,
    path,
    size: facts?.size ?? null,
    generation: facts?.generation === undefined ? null : String(facts.generation),
    key: key ?? null,
    checkValue: facts?.fingerprint === undefined ? null : checkValueOf(facts.fingerprint),
    problem: facts?.problem ?? null,
  }
}

export function listLines(vaults: readonly ListedVault[]): readonly string[] {
  if (vaults.length === 0) return ['no vaults']
  const rows = vaults.map(({ name, path, facts, key }) => {
    if (facts === undefined) return [name, '-', '-', 'not written yet', path]
    if (facts.generation === undefined || facts.fingerprint === undefined)
      return [name, '-', '-', 'damaged', path]
    return [
      name,
      facts.generation,
      count(facts.size),
      key ?? `unknown ${checkValueOf(facts.fingerprint)}`,
      path,
    ]
  })
  const problems = vaults.flatMap(({ facts }) => (facts?.problem === undefined ? [] : [facts.problem]))
  return [...columns([['vault', 'generation', 'bytes', 'key', 'file'], ...rows]), ...problems]
}

/** `tk  generation 5 · 1 member put` */
export function writtenLines(vault: string, generation: bigint | undefined, what: string): readonly string[] {
  return [`${vault}  generation ${generation ?? '-'} · ${what}, read back and opened`]
}

export function exportedLines(vault: string, bytes: number, file: string | undefined): readonly string[] {
  if (file === undefined) return [`${vault}  ${count(bytes)} bytes verified; nothing was written`]
  return [
    `${vault}  ${count(bytes)} bytes verified and written to ${file} (0600)`,
    'Remove it when it is not needed any more.',
  ]
}

/** A string as it is, everything else in the JSON that the vault holds. */
export function valueText(value: unknown, json: string): string {
  return typeof value === 'string' ? value : json
}
