import { dirname, relative, resolve } from 'node:path'
import { isKvxError, KvxError } from '../core/errors.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { readFileCapped } from '../platform/files.ts'
import type { Finding } from './rules.ts'

/** Findings that are known and accepted: `kvx check` is silent about them. Holds no secret, belongs in git. */
type Baseline = {
  readonly schema: 'kvx.check.baseline/1'
  readonly findings: readonly Known[]
}

/** Without the line, which moves. Paths are seen from the folder of the baseline. */
type Known = { readonly rule: string; readonly path: string; readonly message: string }

const maxBytes = 16 * 1_048_576

/** The text of a baseline file that knows these findings. */
export function encodeBaseline(file: string, findings: readonly Finding[]): Buffer {
  const known = findings.map((finding) => asKnown(file, finding))
  const sorted = known.toSorted((one, other) => (markOf(one) < markOf(other) ? -1 : 1))
  const baseline: Baseline = { schema: 'kvx.check.baseline/1', findings: sorted }
  return Buffer.from(`${JSON.stringify(baseline, null, 2)}\n`)
}

export type Compared = {
  /** What the baseline does not know. */
  readonly fresh: readonly Finding[]
  readonly known: number
  /** Lines of the baseline behind which nothing was found any more. */
  readonly gone: number
}

/** @throws FILE_NOT_FOUND, DAMAGED */
export async function compareWithBaseline(file: string, findings: readonly Finding[]): Promise<Compared> {
  const left = new Map<string, number>()
  for (const known of await readBaseline(file)) {
    left.set(markOf(known), (left.get(markOf(known)) ?? 0) + 1)
  }
  const all = [...left.values()].reduce((sum, count) => sum + count, 0)
  const fresh = findings.filter((finding) => {
    const mark = markOf(asKnown(file, finding))
    const count = left.get(mark) ?? 0
    left.set(mark, count - 1)
    return count <= 0
  })
  const known = findings.length - fresh.length
  return { fresh, known, gone: all - known }
}

function asKnown(file: string, { rule, path, message }: Finding): Known {
  const isFile = !/^(env:|stdin$)/.test(path)
  return { rule, path: isFile ? relative(dirname(resolve(file)), resolve(path)) : path, message }
}

function markOf({ rule, path, message }: Known): string {
  return [rule, path, message].join('\0')
}

async function readBaseline(file: string): Promise<readonly Known[]> {
  const { bytes } = await readFileCapped(file, { maxBytes, follow: true })
  try {
    const { schema, findings } = JSON.parse(bytes.toString('utf8')) as Baseline
    if (schema !== 'kvx.check.baseline/1') throw damaged(file)
    if (!findings.every((one) => [one.rule, one.path, one.message].every((text) => typeof text === 'string')))
      throw damaged(file)
    return findings
  } catch (error) {
    throw isKvxError(error) ? error : damaged(file)
  }
}

function damaged(file: string): KvxError {
  return new KvxError('DAMAGED', `${shownPath(file)} is no baseline of kvx check`, {
    hint: `Write it anew after you have looked at the findings: \`kvx check … --write-baseline ${quotedPath(file)}\`.`,
  })
}
