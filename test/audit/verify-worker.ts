import { verifyAudit } from '../../src/audit/verify-audit.ts'
import { readAudit } from '../../src/audit/read-audit.ts'

// Started by verify-audit.test.ts: what verifying and reading a log take at most, in KiB.
const [directory = '', expectedHead = ''] = process.argv.slice(2)
const { entries, problemCount } = await verifyAudit(directory, { expectedHead })
let read = 0
for await (const _ of readAudit(directory, { last: 10 })) read += 1
const problems = problemCount + (read === 10 ? 0 : 1)
console.log(JSON.stringify({ entries, problems, peakKiB: process.resourceUsage().maxRSS }))
