import { type ErrorCode, isKvxError, KvxError } from '../../core/errors.ts'
import { describeTarget, networkFaults, type ServerTarget } from '../server-errors.ts'

/** The number of an error that the server sent, or undefined when the connection itself failed. */
export function serverErrno(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errno' in error) || !('sqlState' in error)) return undefined
  return typeof error.errno === 'number' && typeof error.sqlState === 'string' ? error.errno : undefined
}

/** Another try can succeed: deadlock, or a lock or statement that took too long. */
export function isTransient(error: unknown): boolean {
  return isKvxError(error, 'LOCKED') && typeof error.details['errno'] === 'number'
}

/** Builds the error that an operator sees from the number alone: the text of the server can hold values. */
export function mysqlError(error: unknown, target: ServerTarget): KvxError {
  if (isKvxError(error)) return error
  const errno = serverErrno(error)
  if (errno === undefined) return unreachable(error, target)
  const [code, what, hint] = refusals.get(errno) ?? [
    'STORE_UNAVAILABLE',
    `answered with error ${errno}`,
    `look it up with \`perror ${errno}\`, and into the log of the server`,
  ]
  const details = { errno }
  return new KvxError(
    code,
    `${describeTarget(target)} ${what}`,
    hint === undefined ? { details } : { hint, details },
  )
}

type Refusal = readonly [code: ErrorCode, what: string, hint?: string]

const login: Refusal = [
  'STORE_UNAVAILABLE',
  'does not accept the user or the password from here',
  'check user and password where kvx.yaml takes them from; try them with `mysql` on this machine',
]
const again = 'let the other transaction finish, then run the command again'
const rights: Refusal = [
  'STORE_SHAPE',
  'does not give this user the right to do that',
  'as an administrator run `GRANT SELECT, INSERT, UPDATE ON … TO …`',
]
const refusedWrite: Refusal = [
  'STORE_SHAPE',
  'refused a write: a constraint or trigger of the table does not allow it, nothing of the batch was written',
  'look at the table with `SHOW CREATE TABLE …`',
]
const unfit: Refusal = [
  'STORE_SHAPE',
  'cannot hold a value: the column is too narrow for it or has another type or character set',
]
const missing: Refusal = ['STORE_SHAPE', 'has lost a table or column: it was dropped or renamed meanwhile']
const full: Refusal = [
  'DISK_FULL',
  'has no space left',
  'make room on the server, then run the command again',
]
const ended: Refusal = ['STORE_UNAVAILABLE', 'ended the connection', 'run the command again when it is up']
const readOnly: Refusal = ['STORE_UNAVAILABLE', 'is read-only here', 'connect to the primary server']
const tooLarge: Refusal = [
  'RESOURCE_LIMIT',
  'got a packet larger than max_allowed_packet',
  'raise max_allowed_packet of the server',
]
const timedOut: Refusal = [
  'LOCKED',
  'ended a statement: it took longer than it may, or somebody cancelled it',
  'give it more time with `statement-timeout` of the store in kvx.yaml, then run the command again',
]

/** https://mariadb.com/docs/server/reference/error-codes/mariadb-error-code-reference */
const refusals = new Map<number, Refusal>([
  ...[1044, 1045, 1130, 1698, 1820, 3118, 4151].map((errno) => [errno, login] as const),
  [1049, ['STORE_SHAPE', 'has no database of that name', 'list them with `SHOW DATABASES`']],
  [1205, ['LOCKED', 'keeps a record locked for another transaction', again]],
  [1213, ['LOCKED', 'ended a deadlock with another transaction', again]],
  ...[1317, 1969, 3024].map((errno) => [errno, timedOut] as const),
  ...[1142, 1143, 1227, 1370].map((errno) => [errno, rights] as const),
  ...[1048, 1062, 1169, 1216, 1217, 1451, 1452, 1644, 3819, 4025].map(
    (errno) => [errno, refusedWrite] as const,
  ),
  ...[1264, 1265, 1292, 1366, 1406, 3140, 1411, 1690, 3854].map((errno) => [errno, unfit] as const),
  ...[1054, 1146].map((errno) => [errno, missing] as const),
  ...[1021, 1114].map((errno) => [errno, full] as const),
  ...[1053, 1077, 1927].map((errno) => [errno, ended] as const),
  ...[1290, 1792, 1836].map((errno) => [errno, readOnly] as const),
  ...[1153, 1301].map((errno) => [errno, tooLarge] as const),
  [
    1040,
    ['STORE_UNAVAILABLE', 'has no connection left', 'kvx needs two; end others or raise max_connections'],
  ],
  [1041, ['RESOURCE_LIMIT', 'ran out of memory', 'use a smaller `--batch`']],
  [1206, ['RESOURCE_LIMIT', 'has no room for more locks', 'use a smaller `--batch`']],
  [1034, ['DAMAGED', 'found a damaged index', 'check it with `CHECK TABLE …`']],
  [1712, ['DAMAGED', 'found a damaged index', 'check it with `CHECK TABLE …`']],
])

function unreachable(error: unknown, target: ServerTarget): KvxError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const [what, hint] = reasons[code] ?? (isTls(code) ? tls : lost)
  return new KvxError('STORE_UNAVAILABLE', `${describeTarget(target)} ${what}`, { hint })
}

function isTls(code: string): boolean {
  return /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|HANDSHAKE_SSL)/.test(code)
}

const lost = [
  'lost the connection',
  'run the command again when the server is up: `kvx run resume` goes on',
] as const
const tls = [
  'could not be reached over TLS: it offers none, or its certificate is not trusted or for another name',
  'name the authority with `sslrootcert=FILE` in the URL, and the server as its certificate does',
] as const
const reasons: Readonly<Record<string, readonly [string, string]>> = {
  ...networkFaults,
  HANDSHAKE_NO_SSL_SUPPORT: [
    'does not offer TLS',
    'turn TLS on at the server, or write `sslmode=disable` in the URL',
  ],
}
