import { createFile } from './create-file.ts'
import { lstatFacts } from './files.ts'
import { replaceFile } from './replace-file.ts'

/**
 * Puts bytes under a name, whether or not a file has it, durably and at once: who reads it finds the old file or
 * the new one, complete. A file that is there keeps its owner, mode and ACL; a new one gets the mode.
 * @throws as `createFile` and `replaceFile` do
 */
export async function putFile(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const before = await lstatFacts(path)
  if (before === undefined) await createFile(path, bytes, { mode })
  else await replaceFile(path, bytes)
}
