/**
 * A process of its own that writes, reads, re-encrypts and exports a vault of so many MiB and prints its peak
 * memory in MB: `memory-worker.ts DIRECTORY MIB`.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { Secret } from '../../src/core/secret.ts'
import { writeStreamed } from '../../src/platform/stream-file.ts'
import { directoryMemory } from '../../src/vault/generations.ts'
import { createTestKeyProvider, providedKeys } from '../../src/vault/key-provider.ts'
import { changeMembers, checkedContent, parseMembers, pickMember } from '../../src/vault/members.ts'
import { readVault, type Vault } from '../../src/vault/vaults.ts'
import { reencryptVault, writeVault } from '../../src/vault/write-vault.ts'

const [directory = '', mebibytes = '1'] = process.argv.slice(2)
const keys = [randomBytes(32), randomBytes(32)] as const

function vaultUnder(key: Buffer): Vault {
  const memory = directoryMemory(directory, async () => ({ mode: 0o600 }))
  const provided = providedKeys(createTestKeyProvider({ tk: key }))
  return { name: 'tk', directory, keys: provided, memory, acceptGeneration: false }
}

async function* object(): AsyncGenerator<Buffer> {
  yield Buffer.from('{"first":1')
  const value = 'x'.repeat(1_048_576)
  for (let n = 0; n < Number(mebibytes); n++) yield Buffer.from(`,"m${n}":"${value}"`)
  yield Buffer.from(',"last":"end"}')
}

const vault = vaultUnder(keys[0])
await writeVault(vault, () => checkedContent(object()))
await writeVault(vault, (old) =>
  changeMembers(old, { put: parseMembers(Buffer.from('{"first":2}')), remove: new Set() }),
)
await reencryptVault(vault, { key: Secret.copy(keys[1]) })
const read = await readVault(vaultUnder(keys[1]), async (content) => {
  await writeStreamed(join(directory, 'out.json'), {
    expected: undefined,
    access: { mode: 0o600 },
    fill: async ({ write }) => {
      for await (const segment of content.segments()) await write(segment)
    },
  })
  return (await pickMember(content.segments(), 'last'))?.toString()
})
if (read?.result !== '"end"' || read.generation !== 3n)
  throw new Error('the vault does not hold what was written')
process.stdout.write(`${Math.round(process.resourceUsage().maxRSS / 1000)}\n`)
