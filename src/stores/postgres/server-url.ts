import { postgresDefaults, serverPlace } from '../../config/server-place.ts'

/** Where the database lies, without credentials. */
export function placeOf(url: string): string {
  return serverPlace(url, postgresDefaults())
}

/**
 * pg verifies the certificate for every sslmode but `disable` and `no-verify`, and says so in a warning for the
 * modes that libpq treats otherwise. kvx says it in its documents.
 */
export function verifiedTls(text: string): string {
  return text.replace(/([?&]sslmode=)(prefer|require|verify-ca)\b/, '$1verify-full')
}
