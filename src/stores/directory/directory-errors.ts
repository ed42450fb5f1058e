import { type ErrorOptions, KvxError } from '../../core/errors.ts'
import { quotedPath, shownPath } from '../../platform/file-errors.ts'

/** The store that an error is about: its name in the configuration and the real path of its directory. */
export type DirectoryTarget = { readonly name: string; readonly path: string }

/** How an operator names the store: `store docs (/srv/data)`. */
export function describeTarget({ name, path }: DirectoryTarget): string {
  return `store ${name} (${shownPath(path)})`
}

/** A refusal about the shape of a store: a pattern, a column, an id, a file that is no record. */
export function shapeError(target: DirectoryTarget, what: string, options: ErrorOptions = {}): KvxError {
  return new KvxError('STORE_SHAPE', `${describeTarget(target)}: ${what}`, options)
}

/** The same about one file, and the place in it where there is one; `path` is relative to the directory. */
export function fileShapeError(
  target: DirectoryTarget,
  path: string,
  what: string,
  offset?: number,
): KvxError {
  const at = offset === undefined ? '' : ` at offset ${offset}`
  const full = `${target.path}/${path}`
  const hint =
    offset === undefined
      ? `look at it with \`ls -l ${quotedPath(full)}\``
      : `look at the place with \`tail -c +${offset + 1} ${quotedPath(full)} | head -c 40\``
  const details = { file: shownPath(path), ...(offset === undefined ? {} : { offset }) }
  return shapeError(target, `${shownPath(path)}${at}: ${what}`, { hint, details })
}
