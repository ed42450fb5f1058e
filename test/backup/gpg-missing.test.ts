import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as openpgp from 'openpgp'
import { afterAll, expect, it, vi } from 'vitest'
import { testBackup } from '../../src/backup/confirm.ts'
import { createBackup } from '../../src/backup/create.ts'
import { decryptWithGpg } from '../../src/backup/gpg.ts'
import { resolveRecipients } from '../../src/backup/recipients.ts'
import { KvxError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import type * as toolsModule from '../../src/platform/tools.ts'
import { makeAuditKey } from './audit-key.ts'

vi.mock('../../src/platform/tools.ts', async (importOriginal) => {
  const tools = await importOriginal<typeof toolsModule>()
  const requireTool = (tool: string): string => {
    if (tool === 'gpg') throw new KvxError('TOOL_MISSING', 'gpg is not installed')
    return tools.requireTool(tool)
  }
  return { ...tools, requireTool }
})

const folder = mkdtempSync(join(tmpdir(), 'kvx-no-gpg-'))
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

it('says that gpg is missing where it is needed to read', async () => {
  await expect(decryptWithGpg(Buffer.from('x'))).rejects.toMatchObject({ code: 'TOOL_MISSING', exit: 9 })
  await expect(resolveRecipients(['A'.repeat(40)])).rejects.toMatchObject({ code: 'TOOL_MISSING' })
})

it('makes a backup without gpg, for keys from files, and leaves it untested', async () => {
  const { publicKey } = await openpgp.generateKey({
    userIDs: { name: 'Alice' },
    type: 'ecc',
    curve: 'curve25519Legacy',
    format: 'object',
  })
  writeFileSync(join(folder, 'alice.asc'), publicKey.armor())
  const options = { keyFiles: [join(folder, 'alice.asc')] }
  const { recipients } = await resolveRecipients([publicKey.getFingerprint()], options)
  const audit = makeAuditKey()
  const { backup, tested, warnings } = await createBackup({
    name: 'master',
    version: 1,
    purpose: 'kek',
    kvxVersion: '1.0.0',
    material: Secret.take(randomBytes(32)),
    recipients,
    signer: audit.signer,
    directory: folder,
  })
  expect([tested, backup.manifest.state]).toEqual([false, 'untested'])
  expect(warnings[0]?.message).toContain('gpg is not installed')
  await expect(testBackup({ directory: folder, ...audit }, backup.manifest.id)).rejects.toMatchObject({
    code: 'TOOL_MISSING',
  })
})
