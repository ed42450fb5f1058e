import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { trustedDirectory } from '../support/trusted-directory.ts'

const worker = join(import.meta.dirname, 'memory-worker.ts')

/** The most memory in MB that it took to import, change, re-encrypt, export and read a vault of so many MiB. */
function peak(mebibytes: number): number {
  const args = [worker, trustedDirectory(), String(mebibytes)]
  return Number(execFileSync(process.execPath, args, { encoding: 'utf8' }))
}

it('takes no more memory for a vault of 160 MiB than for one of 64 MiB', { timeout: 180_000 }, () => {
  expect(peak(160) - peak(64)).toBeLessThan(64)
})

it('takes less than 400 MB of memory for a vault of 1 GiB', { timeout: 600_000 }, (context) => {
  if (process.env['KVX_SLOW'] !== '1') context.skip('needs KVX_SLOW=1: it takes minutes and 3 GiB of disk')
  expect(peak(1024)).toBeLessThan(400)
})
