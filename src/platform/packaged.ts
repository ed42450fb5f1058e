import { dirname, join } from 'node:path'
import { exists } from './files.ts'

/**
 * Absolute path of a file or folder of the package, or undefined where it is missing. The package's folder is
 * found from this module upwards, by its launcher: it runs from `src` and from `dist`.
 */
export async function packaged(path: string): Promise<string | undefined> {
  let folder = import.meta.dirname
  while (!(await exists(join(folder, 'bin/kvx')))) {
    if (dirname(folder) === folder) return undefined
    folder = dirname(folder)
  }
  const found = join(folder, path)
  return (await exists(found)) ? found : undefined
}
