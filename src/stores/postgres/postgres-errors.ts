import { type ErrorCode, isKvxError, KvxError } from '../../core/errors.ts'
import { describeTarget, networkFaults, reachable, type ServerTarget, shown } from '../server-errors.ts'

/** What the driver tells of an error that the server sent; its text is never looked at, it can hold values. */
export type ServerFailure = {
  readonly state: string
  /** Names of the schema that the server gave along. */
  readonly table: string | undefined
  readonly column: string | undefined
  readonly constraint: string | undefined
}

/** The failure as the server described it, or undefined when the connection itself failed. */
export function serverFailure(error: unknown): ServerFailure | undefined {
  if (!(error instanceof Error) || !('severity' in error) || !('code' in error)) return undefined
  const text = (name: string): string | undefined => {
    const value: unknown = (error as unknown as Record<string, unknown>)[name]
    return typeof value === 'string' ? value : undefined
  }
  const state = text('code') ?? ''
  return { state, table: text('table'), column: text('column'), constraint: text('constraint') }
}

/** Another try can succeed: deadlock, serialization, a lock or statement that took too long. */
export function isTransient(error: unknown): boolean {
  return isKvxError(error, 'LOCKED') && typeof error.details['sqlstate'] === 'string'
}

/** Builds the error that an operator sees from one of the driver: from its SQLSTATE and names alone. */
export function postgresError(error: unknown, target: ServerTarget): KvxError {
  if (isKvxError(error)) return error
  const failure = serverFailure(error)
  if (failure === undefined) return unreachable(error, target)
  const [code, what, hint] = refusalOf(failure)
  const details = { sqlstate: failure.state }
  return new KvxError(
    code,
    `${describeTarget(target)} ${what}`,
    hint === undefined ? { details } : { hint, details },
  )
}

type Refusal = readonly [code: ErrorCode, what: string, hint?: string]

/** SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html. The first two signs are the class. */
function refusalOf(failure: ServerFailure): Refusal {
  const known = refusals[failure.state] ?? classes[failure.state.slice(0, 2)]
  if (known === undefined) {
    return ['STORE_UNAVAILABLE', `answered with SQLSTATE ${failure.state}`, 'look into the log of the server']
  }
  const [code, what, hint] = known
  const name = failure.constraint ?? failure.column
  const named = name === undefined ? what : `${what} (${shown(name)})`
  return hint === undefined ? [code, named] : [code, named, hint]
}

const again = 'let the other transaction finish, then run the command again'
const busy = (what: string): Refusal => ['LOCKED', what, again]
const login = 'check user and password where kvx.yaml takes them from; try them with `psql` on this machine'

const refusals: Readonly<Record<string, Refusal>> = {
  '28P01': ['STORE_UNAVAILABLE', 'does not accept the user or the password', login],
  '28000': [
    'STORE_UNAVAILABLE',
    'does not let this user in from here',
    `${login}; look at pg_hba.conf, which may want TLS: \`sslmode=verify-full\``,
  ],
  '3D000': ['STORE_SHAPE', 'has no database of that name', 'list them with `psql -l`'],
  '40001': busy('could not put this transaction in order with others'),
  '40P01': busy('ended a deadlock with another transaction'),
  '55P03': busy('keeps a record locked for another transaction'),
  '57014': [
    'LOCKED',
    'ended a statement: it took longer than statement_timeout allows, or somebody cancelled it',
    'give it more time with `statement-timeout` of the store in kvx.yaml, then run the command again',
  ],
  '42501': [
    'STORE_SHAPE',
    'does not give this role the right to do that',
    'as the owner of the table run `GRANT SELECT, INSERT, UPDATE ON … TO …`, or let kvx connect as the owner',
  ],
  '42P01': ['STORE_SHAPE', 'has lost the table: it was dropped or renamed meanwhile'],
  '42703': ['STORE_SHAPE', 'has lost a column: it was dropped or renamed meanwhile'],
  '42883': ['STORE_SHAPE', 'cannot order or compare the type of an id column', 'declare another id'],
  '25006': [
    'STORE_UNAVAILABLE',
    'is read-only here: a standby, or default_transaction_read_only',
    'connect to the primary server',
  ],
  '53100': ['DISK_FULL', 'has no space left', 'make room on the server, then run the command again'],
  '53200': ['RESOURCE_LIMIT', 'ran out of memory', 'use a smaller `--batch`'],
  '53300': [
    'STORE_UNAVAILABLE',
    'has no connection left',
    'kvx needs two; end others or raise max_connections',
  ],
  '54000': ['RESOURCE_LIMIT', 'has a limit that a statement exceeds', 'use a smaller `--batch`'],
  '57P03': ['STORE_UNAVAILABLE', 'is starting up or shutting down', 'run the command again in a moment'],
}

const refusedWrite: Refusal = [
  'STORE_SHAPE',
  'refused a write: a constraint or trigger of the table does not allow it, nothing of the batch was written',
  "look at the table with `psql -c '\\d+ TABLE'`",
]
const damaged: Refusal = [
  'DAMAGED',
  'found damaged data or a damaged index',
  'check it with the `pg_amcheck` of the server',
]
const lost: Refusal = ['STORE_UNAVAILABLE', 'ended the connection', 'run the command again when it is up']

const classes: Readonly<Record<string, Refusal>> = {
  '08': lost,
  '22': ['STORE_SHAPE', 'cannot hold a value: the column is too narrow for it or has another type'],
  '23': refusedWrite,
  '25': refusedWrite,
  '27': refusedWrite,
  '53': ['RESOURCE_LIMIT', 'has too few resources'],
  '57': lost,
  '58': ['IO_ERROR', 'had an error of its operating system', 'look into the log of the server'],
  P0: refusedWrite,
  XX: damaged,
}

/** The connection failed: by the errno or code of Node and its TLS alone. */
function unreachable(error: unknown, target: ServerTarget): KvxError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const text = error instanceof Error ? error.message : ''
  const [what, hint] = reasonOf(code, text)
  return new KvxError('STORE_UNAVAILABLE', `${describeTarget(target)} ${what}`, { hint })
}

const tls: readonly [string, string] = [
  'could not be reached over TLS: its certificate is not trusted, or is for another name',
  'name the authority with `sslrootcert=FILE` in the URL, and the server as its certificate does',
]

function reasonOf(code: string, text: string): readonly [string, string] {
  if (code === 'ENOENT' && !text.includes('connect')) {
    return ['names a certificate file that is not there', 'correct `sslrootcert`, `sslcert` or `sslkey`']
  }
  const known = reasons[code]
  if (known !== undefined) return known
  if (/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)) return tls
  // Texts of pg itself, which hold no value.
  if (text === 'The server does not support SSL connections') {
    return ['does not offer TLS', 'turn `ssl` on at the server, or write `sslmode=disable` in the URL']
  }
  if (/password must be a (non-empty )?string/.test(text)) {
    return ['wants a password and none is given', 'put it into the URL, PGPASSWORD or ~/.pgpass']
  }
  if (/timeout expired/.test(text)) return ['did not answer in time', reachable]
  return ['lost the connection', 'run the command again when the server is up: `kvx run resume` goes on']
}

const reasons: Readonly<Record<string, readonly [string, string]>> = {
  ...networkFaults,
  ERR_INVALID_URL: [
    'has an address that is no valid URL',
    'write special signs of user and password in percent code: %40 for @, %2F for /',
  ],
}
