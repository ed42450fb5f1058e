import { execFileSync, spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type FileSystem = 'ext4' | 'xfs'

const programs = ['mkfs.ext4', 'mkfs.xfs', 'xfs_io', 'mount', 'umount']

/** Why no file system of its own can be made, mounted and cut off here, or undefined. */
export function loopDiskMissing(): string | undefined {
  if (process.geteuid?.() !== 0) return 'needs root: it mounts a file system'
  const lost = programs.find(
    (name) => !['/usr/sbin', '/sbin', '/usr/bin', '/bin'].some((folder) => existsSync(join(folder, name))),
  )
  if (lost !== undefined) return `needs ${lost}: \`KVX_SLOW=1 npm run setup -- --for test\``
  const folder = mkdtempSync('/var/tmp/kvx-loop-')
  try {
    new LoopDisk('ext4', folder).close()
    return undefined
  } catch {
    return 'needs loop devices: this machine mounts none'
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * A real file system in an image, mounted over a folder, whose power can be cut: the shutdown call of ext4 and xfs
 * drops every page and every entry of the journal that is not on the medium.
 */
export class LoopDisk {
  private readonly image: string
  private readonly folder: string
  private readonly options: string

  constructor(kind: FileSystem, folder: string) {
    this.folder = folder
    this.image = join(mkdtempSync(join(tmpdir(), 'kvx-disk-')), 'image')
    // ext4 gets what makes it forget most: no early allocation, no order of data, and a journal that waits.
    this.options = kind === 'ext4' ? 'loop,noauto_da_alloc,data=writeback,commit=600' : 'loop,nouuid'
    writeFileSync(this.image, '')
    truncateSync(this.image, 320 * 1_048_576)
    run(`mkfs.${kind}`, '-q', this.image)
    this.mount()
  }

  /** The file system holds a copy of this folder, and nothing else; all of it is on the medium. */
  fill(from: string): void {
    for (const name of readdirSync(this.folder))
      rmSync(join(this.folder, name), { recursive: true, force: true })
    run('cp', '-a', `${from}/.`, this.folder)
    run('sync', '-f', this.folder)
  }

  /** @param withMetadata names and sizes reach the medium before the cut, because another file is synced */
  cutPower(withMetadata: boolean): void {
    if (withMetadata) {
      const other = openSync(join(this.folder, 'another'), 'w', 0o600)
      fsyncSync(other)
      closeSync(other)
    }
    run('xfs_io', '-x', '-c', 'shutdown', this.folder)
    run('umount', this.folder)
    this.mount()
    rmSync(join(this.folder, 'another'), { force: true })
  }

  close(): void {
    spawnSync('umount', [this.folder])
    rmSync(join(this.image, '..'), { recursive: true, force: true })
  }

  private mount(): void {
    run('mount', '-o', this.options, this.image, this.folder)
  }
}

function run(program: string, ...args: readonly string[]): void {
  const path = '/usr/sbin:/usr/bin:/sbin:/bin'
  execFileSync(program, args, { env: { PATH: path, LC_ALL: 'C' }, stdio: ['ignore', 'ignore', 'pipe'] })
}
