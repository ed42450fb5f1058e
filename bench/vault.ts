/**
 * Re-encryption of a large vault beside the physical limit: `cp` of the same file and `sync`. Both read the old
 * file from the page cache, write as many bytes, and end when they are on the medium; the vault is also opened,
 * sealed, read back, opened again and compared.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Secret } from '../src/core/secret.ts'
import { linkFile } from '../src/platform/stream-file.ts'
import { directoryMemory } from '../src/vault/generations.ts'
import { createTestKeyProvider, providedKeys } from '../src/vault/key-provider.ts'
import { type Vault, vaultPath } from '../src/vault/vaults.ts'
import { reencryptVault, writeVault } from '../src/vault/write-vault.ts'
import { beside, type Row, type Scale, timed } from './measure.ts'

export async function benchVault({ vaultMiB, rounds }: Pick<Scale, 'vaultMiB' | 'rounds'>): Promise<Row> {
  const bytes = vaultMiB * 1_048_576
  const directory = mkdtempSync('/var/tmp/kvx-bench-')
  chmodSync(directory, 0o700)
  try {
    const keys: readonly [Buffer, Buffer] = [randomBytes(32), randomBytes(32)]
    await writeVault(vaultUnder(directory, keys[0]), () => content(bytes))
    const path = vaultPath({ name: 'tk', directory })
    let round = 0
    const names = {
      what: `reencrypt a vault of ${vaultMiB} MiB`,
      beside: '`cp` and `sync`',
      target: 2,
    }
    return await beside(names, rounds, async () => {
      const [from, to] = round++ % 2 === 0 ? keys : [keys[1], keys[0]]
      const besideMs = await timed(() => {
        execFileSync('cp', [path, join(directory, 'copy')])
        execFileSync('sync')
      })
      rmSync(join(directory, 'copy'))
      const backup = join(directory, 'backup')
      const ms = await timed(async () =>
        reencryptVault(vaultUnder(directory, from), {
          key: Secret.copy(to),
          keepOld: async () => void (await linkFile(path, backup)),
        }),
      )
      rmSync(backup)
      return { ms, besideMs }
    })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function vaultUnder(directory: string, key: Buffer): Vault {
  const keys = providedKeys(createTestKeyProvider({ tk: key }))
  const memory = directoryMemory(directory, async () => ({ mode: 0o600 }))
  return { name: 'tk', directory, keys, memory, acceptGeneration: false }
}

async function* content(bytes: number): AsyncGenerator<Buffer> {
  const piece = Buffer.alloc(1_048_576, 'x')
  for (let left = bytes; left > 0; left -= piece.length) yield piece.subarray(0, left)
}
