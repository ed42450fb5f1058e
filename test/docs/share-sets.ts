import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { shareReceipt } from '../../src/backup/shares/receipts.ts'
import { splitShareTexts } from '../../src/core/share/share-lines.ts'
import { decodeAnyShare } from '../../src/core/share/share-text.ts'
import type { GpgHome } from '../support/gpg.ts'

export type ShareSet = { readonly set: string; readonly folder: string; readonly created: string }

/** The sets of a home in the order in which they were dealt. */
export function shareSets(home: string): readonly ShareSet[] {
  const root = join(home, 'backups/shares')
  if (!existsSync(root)) return []
  return readdirSync(root)
    .filter((name) => /^\w+\.v\d+\.\w+$/.test(name))
    .map((name) => {
      const [folder, set] = [join(root, name), name.split('.').at(-1) ?? '']
      const { created } = JSON.parse(readFileSync(join(folder, `${set}.json`), 'utf8')) as ShareSet
      return { set, folder, created }
    })
    .toSorted((one, other) => one.created.localeCompare(other.created))
}

export function newestSet(home: string): ShareSet {
  const set = shareSets(home).at(-1)
  if (set === undefined) throw new Error(`no shares were dealt in ${home}`)
  return set
}

/** What custodian `index` reads in the encrypted file with gpg alone. */
function shareText(gpg: GpgHome, { folder, set }: ShareSet, index: number): Uint8Array {
  const letter = gpg.decrypt(readFileSync(join(folder, `${set}-share-${index}.asc`)))
  return splitShareTexts(letter)[0] ?? new Uint8Array()
}

/** The share as somebody types it who leaves the blanks and the numbers of the lines out. */
export function typedShare(gpg: GpgHome, of: ShareSet, index: number): string {
  return Buffer.from(shareText(gpg, of, index))
    .toString()
    .replaceAll(/^[1-4] {2}|[ \n]/gm, '')
}

/** What the custodian reads out. */
export function receiptOfShare(gpg: GpgHome, of: ShareSet, index: number): string {
  return shareReceipt(decodeAnyShare(shareText(gpg, of, index)), 1)
}
