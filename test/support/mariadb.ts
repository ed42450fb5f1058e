import { type ChildProcess, spawn, spawnSync, type SpawnSyncOptions } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection, type RowDataPacket } from 'mysql2/promise'

/** A real MariaDB server of its own, reached by a socket in a folder of its own. As root it runs as nobody. */
export type MariadbServer = {
  /** A new empty database and the URL that opens it as the superuser. */
  createDatabase(): Promise<string>
  /** Statements that end in `;` at the end of a line, as the superuser; rows of the last one. */
  sql(url: string, text: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>
  /** SIGKILL, as if the machine had lost its power. */
  kill(): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

const program = '/usr/sbin/mariadbd'
const scripts = '/usr/share/mysql'
const nobody = 65534

/** Why there can be no server here, or undefined. */
export function mariadbMissing(): string | undefined {
  return existsSync(program) && existsSync(join(scripts, 'mysql_system_tables.sql'))
    ? undefined
    : 'needs mariadb-server-core: `npm run setup -- --for test`'
}

export async function startMariadb(): Promise<MariadbServer> {
  const folder = mkdtempSync(join(tmpdir(), 'kvx-maria-'))
  const isRoot = process.geteuid?.() === 0
  if (isRoot) chownSync(folder, nobody, nobody)
  const as = isRoot ? { uid: nobody, gid: nobody } : {}
  const options = { ...as, cwd: folder, env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: folder } }
  const data = join(folder, 'data')
  mkdirSync(data)
  if (isRoot) chownSync(data, nobody, nobody)
  bootstrap(data, options)
  const socket = join(folder, 's')
  let child: ChildProcess | undefined
  const start = async (): Promise<void> => {
    const settings = [
      '--skip-networking',
      '--innodb-buffer-pool-size=32M',
      '--innodb-log-file-size=16M',
      '--skip-log-error',
    ]
    const args = [
      '--no-defaults',
      `--datadir=${data}`,
      `--socket=${socket}`,
      `--pid-file=${join(folder, 'pid')}`,
      ...settings,
    ]
    child = spawn(program, args, { ...options, stdio: 'ignore' })
    await untilReady(urlOf(socket, ''), child)
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
  process.once('exit', () => child?.kill('SIGKILL'))
  await start()
  let databases = 0
  return {
    createDatabase: async () => {
      const name = `app${++databases}`
      await runSql(urlOf(socket, ''), `CREATE DATABASE ${name} CHARACTER SET utf8mb4`)
      return urlOf(socket, name)
    },
    sql: runSql,
    kill: async () => end('SIGKILL'),
    start,
    stop: async () => {
      await end('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** What mariadb-install-db does; that script needs programs of the client package. */
function bootstrap(data: string, options: SpawnSyncOptions): void {
  const files = ['mysql_system_tables', 'mysql_performance_tables', 'mysql_system_tables_data']
  const text = files.map((file) => readFileSync(join(scripts, `${file}.sql`), 'utf8')).join('\n')
  const input = `CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n${text}`
  const words = [
    '--no-defaults',
    '--bootstrap',
    `--datadir=${data}`,
    '--skip-log-bin',
    '--innodb-log-file-size=16M',
  ]
  const made = spawnSync(program, words, { ...options, input, encoding: 'utf8' })
  if (made.status !== 0) throw new Error(`mariadbd --bootstrap: ${made.stderr}`)
}

function urlOf(socket: string, database: string): string {
  return `mysql://root@localhost/${database}?socketPath=${socket}`
}

async function runSql(
  url: string,
  text: string,
  values?: readonly unknown[],
): Promise<Record<string, unknown>[]> {
  const connection = await createConnection({ uri: url, supportBigNumbers: true, charset: 'utf8mb4' })
  try {
    if (values !== undefined) return (await connection.query<RowDataPacket[]>(text, [...values]))[0]
    let rows: Record<string, unknown>[] = []
    for (const statement of text.split(/;\s*\n/).filter((part) => part.trim() !== '')) {
      rows = (await connection.query<RowDataPacket[]>(statement))[0]
    }
    return rows
  } finally {
    connection.destroy()
  }
}

async function untilReady(url: string, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 1500; tries++) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`)
    try {
      await runSql(url, 'SELECT 1')
      return
    } catch {
      await sleep(20)
    }
  }
  throw new Error('the server did not start')
}
