import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { promisify } from 'node:util'
import type { Keys } from './floor-ciphers.ts'

const sync = promisify(fs.fsync)
/** As many as kvx replaces together. */
const group = 128

/**
 * What `kvx reencrypt` does to the folder of the benchmark, by hand. A group of files is written and synced before the
 * first of them gets its name; what they replace keeps a second name in the backup. Owner and mode are those of the old
 * file; ACLs and attributes are left out, since Node has no call for them.
 * @returns how many files it moved; each of them opens with the new key alone
 */
export async function floorInFiles(folder: string, backup: string, keys: Keys): Promise<number> {
  const [old, next, random] = [keys.old, keys.next, randomBytes(32)].map((key) => createSecretKey(key))
  if (old === undefined || next === undefined || random === undefined) throw new Error('three keys')
  const folders = fs.readdirSync(folder).map((name) => `${folder}/${name}`)
  for (const each of folders) look(each, old)
  fs.mkdirSync(backup, { mode: 0o700 })
  for (const each of folders) {
    const kept = `${backup}/${each.slice(folder.length + 1)}`
    fs.mkdirSync(kept, { mode: 0o700 })
    const names = fs.readdirSync(each)
    for (let from = 0; from < names.length; from += group) {
      const some = names.slice(from, from + group)
      await replace(each, kept, { some, old, next })
      for (const name of some) {
        const sealed = fs.readFileSync(`${each}/${name}`)
        for (const wrong of [old, random])
          if (open(wrong, sealed) !== undefined) throw new Error('a wrong key opens it')
        const before = open(old, fs.readFileSync(`${kept}/${name}`))
        if (before === undefined || open(next, sealed)?.equals(before) !== true)
          throw new Error('something else was read back')
      }
    }
  }
  return folders.reduce((sum, each) => sum + look(each, next), 0)
}

type Group = { readonly some: readonly string[]; readonly old: KeyObject; readonly next: KeyObject }

async function replace(folder: string, kept: string, { some, old, next }: Group): Promise<void> {
  const written = some.map((name) => {
    const path = `${folder}/${name}`
    const before = fs.readFileSync(path)
    const { uid, gid, mode } = fs.statSync(path)
    const text = open(old, before)
    if (text === undefined) throw new Error(`${name} does not open with the old key`)
    const descriptor = fs.openSync(`${path}.new`, 'wx', 0o600)
    fs.writeSync(descriptor, seal(next, text))
    fs.fchownSync(descriptor, uid, gid)
    fs.fchmodSync(descriptor, mode)
    fs.linkSync(path, `${kept}/${name}`)
    return { path, before, descriptor }
  })
  await Promise.all([...written.map(async ({ descriptor }) => sync(descriptor)), syncFolder(kept)])
  for (const { path, before, descriptor } of written) {
    fs.closeSync(descriptor)
    if (!fs.readFileSync(path).equals(before)) throw new Error(`${path} was changed`)
    fs.renameSync(`${path}.new`, path)
  }
  await syncFolder(folder)
}

async function syncFolder(folder: string): Promise<void> {
  const descriptor = fs.openSync(folder, 'r')
  await sync(descriptor)
  fs.closeSync(descriptor)
}

/** Opens every file of a folder. @throws for the first that does not open */
function look(folder: string, key: KeyObject): number {
  const names = fs.readdirSync(folder)
  for (const name of names)
    if (open(key, fs.readFileSync(`${folder}/${name}`)) === undefined)
      throw new Error(`${name} does not open`)
  return names.length
}

function open(key: KeyObject, sealed: Buffer): Buffer | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 })
  decipher.setAuthTag(sealed.subarray(-16))
  const text = decipher.update(sealed.subarray(12, -16))
  try {
    decipher.final()
    return text
  } catch {
    return undefined
  }
}

function seal(key: KeyObject, text: Buffer): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()])
}
