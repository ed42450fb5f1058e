import { type ErrorCode, type ErrorOptions, isKvxError, KvxError } from '../../core/errors.ts'

/** The store that an error is about: its name in the configuration and the real path of its file. */
export type SqliteTarget = { readonly name: string; readonly path: string }

type Refusal = readonly [code: ErrorCode, what: string, hint?: string]

/** How an operator names the store: `store local (/srv/app.db)`. */
export function describeTarget({ name, path }: SqliteTarget): string {
  return `store ${name} (${path})`
}

/** `path` as one word of a shell command line. */
export function shellWord(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
}

/** A refusal about the shape of a store: a table, a column, an id. */
export function shapeError(target: SqliteTarget, what: string, options: ErrorOptions = {}): KvxError {
  return new KvxError('STORE_SHAPE', `${describeTarget(target)}: ${what}`, options)
}

/**
 * Builds the error that an operator sees from one of node:sqlite. Only the numeric result code is used: SQLite's
 * own text can hold what a trigger's RAISE or a constraint took from a row.
 */
export function sqliteError(error: unknown, target: SqliteTarget): KvxError {
  if (isKvxError(error)) return error
  const resultCode = resultCodeOf(error)
  if (resultCode === undefined) return bindError(error, target)
  const [code, what, hint] = refusalOf(resultCode, shellWord(target.path))
  const details = { sqlite: resultCode }
  return new KvxError(
    code,
    `${describeTarget(target)} ${what}`,
    hint === undefined ? { details } : { hint, details },
  )
}

/** node:sqlite itself refuses what is out of range before SQLite sees it; anything else is a mistake of kvx. */
function bindError(error: unknown, target: SqliteTarget): KvxError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (['ERR_INVALID_ARG_VALUE', 'ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE'].includes(code)) {
    return shapeError(target, 'a value does not fit into SQLite')
  }
  return new KvxError(
    'BUG',
    `${describeTarget(target)} was not used as it can be${code === '' ? '' : `: ${code}`}`,
  )
}

function resultCodeOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode : undefined
}

/** Result codes: https://sqlite.org/rescode.html. The low byte is the primary code. */
function refusalOf(resultCode: number, path: string): Refusal {
  const known = refusals(path)[resultCode & 0xff]
  return known ?? ['IO_ERROR', `answered with SQLite result code ${resultCode}`]
}

function refusals(path: string): Readonly<Record<number, Refusal>> {
  const locked: Refusal = [
    'LOCKED',
    'is locked by another program',
    `find the program with \`fuser -v ${path}\`, let it finish or stop it, then run the command again`,
  ]
  const notAllowed: Refusal = [
    'IO_ERROR',
    'cannot be opened for reading and writing',
    `look at the owner and mode of the file and its directory with \`ls -ld ${path} "$(dirname ${path})"\``,
  ]
  const tooLarge: Refusal = ['RESOURCE_LIMIT', 'needs more memory or longer values than SQLite has']
  const shape: Refusal = [
    'STORE_SHAPE',
    'has a schema that this connection cannot use: a function, collation or extension is missing, or it changed',
    `look at the schema with \`sqlite3 ${path} .schema\``,
  ]
  const refused: Refusal = [
    'STORE_SHAPE',
    'refused a write: a constraint or trigger of the table does not allow it, nothing of the batch was written',
    `look at the constraints with \`sqlite3 ${path} .schema\``,
  ]
  return {
    1: shape,
    3: notAllowed,
    4: refused,
    5: locked,
    6: locked,
    7: tooLarge,
    8: ['IO_ERROR', 'is read-only here', `give this user write access: look with \`ls -l ${path}\``],
    10: ['IO_ERROR', 'had an input or output error', 'look at the disk and its file system with `dmesg`'],
    11: ['DAMAGED', 'is damaged', `see what is wrong with \`sqlite3 ${path} 'PRAGMA integrity_check'\``],
    13: [
      'DISK_FULL',
      'has no space left',
      `make room: look with \`df -h ${path}\`, then run the command again`,
    ],
    14: notAllowed,
    15: locked,
    17: shape,
    18: tooLarge,
    19: refused,
    20: refused,
    23: notAllowed,
    26: [
      'STORE_SHAPE',
      'is not an SQLite database, or is encrypted as a whole',
      `see what the file is with \`file ${path}\``,
    ],
  }
}
