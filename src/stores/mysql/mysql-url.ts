import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'mysql2/promise'
import { mysqlDefaults, serverPlace } from '../../config/server-place.ts'
import { KvxError } from '../../core/errors.ts'
import { shownPath } from '../../platform/file-errors.ts'

/** Where the database lies, without credentials. */
export function placeOf(url: string): string {
  return serverPlace(url, mysqlDefaults)
}

/**
 * What a URL says: `mysql://USER:PASSWORD@HOST:3306/DATABASE`, with `socketPath=`, and `sslmode=` and
 * `sslrootcert=` as PostgreSQL has them: every mode but `disable` verifies the certificate.
 */
export function optionsOf(text: string): ConnectionOptions {
  const url = new URL(text)
  const database = decodeURIComponent(url.pathname.replace(/^\//, ''))
  const socketPath = url.searchParams.get('socketPath')
  const mode = url.searchParams.get('sslmode')
  const authority = url.searchParams.get('sslrootcert')
  const secure = authority !== null || (mode !== null && mode !== 'disable')
  return {
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    ...(database === '' ? {} : { database }),
    ...(socketPath === null
      ? { host: url.hostname, port: url.port === '' ? 3306 : Number(url.port) }
      : { socketPath }),
    ...(secure
      ? { ssl: { rejectUnauthorized: true, ...(authority === null ? {} : { ca: readAuthority(authority) }) } }
      : {}),
  }
}

function readAuthority(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    throw new KvxError('FILE_NOT_FOUND', `there is no certificate to be read at ${shownPath(path)}`, {
      hint: 'correct `sslrootcert` in the URL',
    })
  }
}
