import { isKvxError } from '../../src/core/errors.ts'
import { loadAuditKey } from '../../src/audit/audit-key.ts'
import { openAudit } from '../../src/audit/audit.ts'
import { withIntent } from '../../src/audit/with-intent.ts'

// Started by with-intent.test.ts, as another user or with a limit on files: work that must not begin.
const [directory = ''] = process.argv.slice(2)
const { signer } = await loadAuditKey(directory)
const audit = openAudit(directory, { signer, actor: 'worker' })
let called = false
try {
  await withIntent(audit, { action: 'key.rotate', subject: 'master@2' }, () => {
    called = true
    return Promise.resolve()
  })
  console.log(JSON.stringify({ called }))
} catch (error) {
  if (!isKvxError(error)) throw error
  const { code, exit, message } = error
  console.log(JSON.stringify({ called, code, exit, message }))
}
