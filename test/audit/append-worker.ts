import { loadAuditKey } from '../../src/audit/audit-key.ts'
import { openAudit } from '../../src/audit/audit.ts'

// Started by append.test.ts: a process that appends entries beside others.
const [directory = '', name = '', count = '0'] = process.argv.slice(2)
const { signer } = await loadAuditKey(directory)
const audit = openAudit(directory, { signer, actor: name })
for (let index = 1; index <= Number(count); index += 1) {
  await audit.append({ action: 'test.append', phase: 'note', run: name, data: { index } })
}
