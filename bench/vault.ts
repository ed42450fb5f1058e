/**
 * Re-encryption of a large vault beside the physical limit: `cp` of the same file and `sync`. Both read the old
 * file from the page cache, write as many bytes, and end when they are on the medium; the vault is also opened,
 * sealed, read back, opened again and compared. Beside it too what people do by hand: `age -d` into `age -e`, which
 * proves nothing.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { Secret } from '../src/core/secret.ts'
import { linkFile } from '../src/platform/stream-file.ts'
import { directoryMemory } from '../src/vault/generations.ts'
import { createTestKeyProvider, providedKeys } from '../src/vault/key-provider.ts'
import { type Vault, vaultPath } from '../src/vault/vaults.ts'
import { reencryptVault, writeVault } from '../src/vault/write-vault.ts'
import { Age } from './age.ts'
import { type Pair, rowOf, type Row, type Scale, timed } from './measure.ts'

/** The vault, its copy or its successor, and what `age` has of it. */
const filesAtOnce = 3.1

/** Beside `cp`, and where it is installed beside `age`; nothing where the disk has no room for it. */
export async function benchVault({
  vaultMiB,
  rounds,
}: Pick<Scale, 'vaultMiB' | 'rounds'>): Promise<readonly Row[]> {
  const bytes = vaultMiB * 1_048_576
  const { bavail, bsize } = statfsSync('/var/tmp')
  if (bavail * bsize < bytes * filesAtOnce) {
    process.stderr.write(`a vault of ${vaultMiB} MiB is left out: /var/tmp has no room for three\n`)
    return []
  }
  const directory = mkdtempSync('/var/tmp/kvx-bench-')
  chmodSync(directory, 0o700)
  try {
    const keys: readonly [Buffer, Buffer] = [randomBytes(32), randomBytes(32)]
    await writeVault(vaultUnder(directory, keys[0]), () => content(bytes))
    const path = vaultPath({ name: 'tk', directory })
    const age = await Age.begin(directory, () => content(bytes))
    const besideCopy: Pair[] = []
    const besideAge: Pair[] = []
    for (let round = 0; round < rounds; round++) {
      const copyMs = await timed(() => {
        execFileSync('cp', [path, join(directory, 'copy')])
        execFileSync('sync')
      })
      rmSync(join(directory, 'copy'))
      const ageMs = age === undefined ? undefined : await timed(() => age.toNewKey())
      age?.forget()
      const [from, to] = round % 2 === 0 ? keys : [keys[1], keys[0]]
      const backup = join(directory, 'backup')
      const ms = await timed(async () =>
        reencryptVault(vaultUnder(directory, from), {
          key: Secret.copy(to),
          keepOld: async () => void (await linkFile(path, backup)),
        }),
      )
      rmSync(backup)
      besideCopy.push({ ms, besideMs: copyMs })
      if (ageMs !== undefined) besideAge.push({ ms, besideMs: ageMs })
    }
    const what = `reencrypt a vault of ${vaultMiB.toLocaleString('en')} MiB`
    const ageToo = '`age -d`, `age -e` of the same bytes and `sync`'
    return [
      rowOf({ what, beside: '`cp` and `sync`', target: 2 }, besideCopy),
      ...(age === undefined ? [] : [rowOf({ what, beside: ageToo, target: 1 }, besideAge)]),
    ]
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
