/** What a URL may leave out. */
export type ServerDefaults = {
  readonly host: string
  readonly port: string
  readonly database: string
}

/** The clients of PostgreSQL take it from these variables. */
export function postgresDefaults(env: NodeJS.ProcessEnv = process.env): ServerDefaults {
  return {
    host: env['PGHOST'] || 'localhost',
    port: env['PGPORT'] || '5432',
    database: env['PGDATABASE'] || '',
  }
}

export const mysqlDefaults: ServerDefaults = { host: 'localhost', port: '3306', database: '' }

/**
 * Where a URL of a database leads, without user, password and options: `db.example:5432/app`, or
 * `/run/postgresql:5432/app` for a socket.
 */
export function serverPlace(text: string, defaults: ServerDefaults): string {
  const url = parseUrl(text)
  const options = url?.searchParams
  const socket = options?.get('socketPath') ?? options?.get('host')
  const host = decoded(socket ?? url?.hostname ?? '') || defaults.host
  const port = options?.get('port') || url?.port || defaults.port
  const database = decoded(url?.pathname.replace(/^\/+/, '') ?? '') || defaults.database
  return `${host}:${port}/${database}`
}

function parseUrl(text: string): URL | undefined {
  // A URL without a host, as for a socket, is none for the parser of Node where it has a user.
  const usable = text.replace(/^([a-z]+:\/\/)([^/?#]*@)(?=[/?]|$)/, '$1')
  return URL.canParse(usable) ? new URL(usable) : undefined
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
