import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './cli.ts'

export function npm(cwd: string, ...args: string[]): string {
  const env = { ...process.env, npm_config_update_notifier: 'false' }
  return execFileSync('npm', args, { cwd, encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The npm package of this clone as `npm pack` makes it, in a folder that is made for it. */
export function pack(folder: string): string {
  mkdirSync(folder)
  npm(root, 'pack', '--ignore-scripts', '--silent', '--pack-destination', folder)
  return join(folder, 'kvx-0.1.0.tgz')
}

/** Installs the package as `npm install --global` does and gives the path of its kvx. */
export function installGlobally(tarball: string, prefix: string): string {
  mkdirSync(prefix)
  npm(prefix, 'install', '--global', '--prefix', prefix, '--offline', '--no-audit', '--no-fund', tarball)
  return join(prefix, 'bin/kvx')
}
