import { basename, dirname, join } from 'node:path'
import { HeldFolder } from '../../platform/held-folder.ts'
import { type DirectoryTarget, fileShapeError } from './directory-errors.ts'

/** @throws KvxError STORE_SHAPE when a link leads to the file, FILE_NOT_FOUND when its folder is missing */
export function holdFolderOf(target: DirectoryTarget, path: string): HeldFolder {
  const parent = dirname(join(target.path, path))
  const folder = new HeldFolder(parent)
  if (folder.canonicalPath() === parent) return folder
  folder.close()
  throw fileShapeError(target, path, 'a symbolic link leads to it')
}

/** A file as it is reached through its folder, until that is let go. */
export type Reached = { readonly path: string; release(): void }

/**
 * The folders in which files are written at this moment, each held once. Who may write in a folder above can put a
 * link in its place at any instant: through what is held nothing is ever written where that leads.
 */
export class HeldFolders {
  readonly #target: DirectoryTarget
  readonly #held = new Map<string, { readonly folder: HeldFolder; users: number }>()

  constructor(target: DirectoryTarget) {
    this.#target = target
  }

  /** @throws KvxError STORE_SHAPE when a link leads to the file, FILE_NOT_FOUND when its folder is missing */
  reach(path: string): Reached {
    const name = dirname(path)
    const held = this.#held.get(name) ?? { folder: holdFolderOf(this.#target, path), users: 0 }
    held.users++
    this.#held.set(name, held)
    return {
      path: held.folder.reach(basename(path)),
      release: () => {
        if (--held.users > 0) return
        this.#held.delete(name)
        held.folder.close()
      },
    }
  }

  async within<T>(path: string, work: (reached: string) => Promise<T>): Promise<T> {
    const reached = this.reach(path)
    try {
      return await work(reached.path)
    } finally {
      reached.release()
    }
  }
}
