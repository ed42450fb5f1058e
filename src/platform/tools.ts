import { accessSync, constants } from 'node:fs'
import { resolve } from 'node:path'
import { KvxError } from '../core/errors.ts'

/** Directories in which a bare tool name is looked up, in this order. The operator's PATH plays no part. */
const toolDirectories = ['/usr/bin', '/bin', '/usr/sbin', '/sbin'] as const

/** The Debian package of each tool that kvx names bare. */
const packages: Readonly<Record<string, string>> = {
  cp: 'coreutils',
  flock: 'util-linux',
  getent: 'libc-bin',
  getfacl: 'acl',
  gpg: 'gpg',
  logger: 'bsdutils',
  perl: 'perl-base',
  prlimit: 'util-linux',
  setfacl: 'acl',
  'ssss-combine': 'ssss',
  'ssh-keygen': 'openssh-client',
}

/**
 * Absolute path of a tool, or undefined where it is not installed. An absolute path is taken as it is, a bare
 * name is looked up in the system's directories only; other relative paths are never taken.
 */
export function findTool(tool: string): string | undefined {
  if (tool.startsWith('/')) return isExecutable(tool) ? tool : undefined
  if (tool === '' || tool.includes('/') || tool.includes('\0')) return undefined
  return toolDirectories.map((directory) => `${directory}/${tool}`).find(isExecutable)
}

/**
 * Absolute path of a tool.
 * @throws KvxError TOOL_MISSING with the command that installs it.
 */
export function requireTool(tool: string): string {
  const path = findTool(tool)
  if (path !== undefined) return path
  const pack = packages[tool]
  const hint =
    pack === undefined
      ? `check that it is installed with \`command -v ${tool}\``
      : `install it with \`apt-get install ${pack}\``
  throw new KvxError('TOOL_MISSING', `${tool} is not installed`, { hint, details: { tool } })
}

/**
 * Absolute path of a program that the operator names as in a shell: a bare name is looked up in the absolute folders
 * of PATH, a path is taken as it is.
 * @throws KvxError TOOL_MISSING
 */
export function requireProgram(name: string): string {
  if (name.includes('/')) return requireTool(resolve(name))
  const folders = (process.env['PATH'] ?? '').split(':').filter((folder) => folder.startsWith('/'))
  return folders.map((folder) => `${folder}/${name}`).find(isExecutable) ?? requireTool(name)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
