/**
 * `npm test`: everything that is checked without running code, then every test. The last line counts:
 * `N passed, N failed, N skipped`.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { tmpdir } from 'node:os'

const root = join(import.meta.dirname, '..')
const checks = ['types', 'lint', 'format:check', 'unused', 'docs:check']

const failedChecks: string[] = []
for (const check of checks) {
  process.stdout.write(`> ${check}\n`)
  const { status } = spawnSync('npm', ['run', '--silent', check], { cwd: root, stdio: 'inherit' })
  if (status !== 0) failedChecks.push(check)
}

const summary = join(tmpdir(), `kvx-test-summary-${process.pid}.json`)
process.stdout.write('> tests\n')
spawnSync(
  join(root, 'node_modules/.bin/vitest'),
  ['run', '--reporter=default', `--reporter=${join(root, 'tools/count-reporter.ts')}`],
  {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, KVX_TEST_SUMMARY: summary },
  },
)

type Summary = { readonly passed: number; readonly failed: number; readonly skipped: number }
let counts: Summary = { passed: 0, failed: 1, skipped: 0 }
try {
  counts = JSON.parse(readFileSync(summary, 'utf8')) as Summary
  rmSync(summary)
} catch {
  process.stderr.write('the test runner ended without a summary\n')
}

const total = {
  passed: counts.passed + checks.length - failedChecks.length,
  failed: counts.failed + failedChecks.length,
  skipped: counts.skipped,
}
// Told again at the end: thousands of lines lie between, and whoever reads only the last ones has to see it.
for (const check of failedChecks) process.stdout.write(`failed: npm run ${check}\n`)
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`)
process.exitCode = total.failed === 0 ? 0 : 1
