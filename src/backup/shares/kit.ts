import { dirname, join } from 'node:path'
import { exists, readFileCapped } from '../../platform/files.ts'

export type KitFile = { readonly name: string; readonly bytes: Buffer }

/** What lets people rebuild a key who have no kvx: it lies beside the shares. */
const names = ['recover.py', 'README.txt']

/** The files of `templates/recovery`, found from this module upwards: it runs from `src` and from `dist`. */
export async function recoveryKit(): Promise<readonly KitFile[]> {
  let folder = import.meta.dirname
  while (!(await exists(join(folder, 'templates/recovery')))) {
    if (dirname(folder) === folder) return []
    folder = dirname(folder)
  }
  const files: KitFile[] = []
  for (const name of names) {
    const { bytes } = await readFileCapped(join(folder, 'templates/recovery', name), { maxBytes: 65_536 })
    files.push({ name, bytes })
  }
  return files
}
