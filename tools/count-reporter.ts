import { writeFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'

/**
 * Counts tests for the closing line of `npm test`, and names each skipped one. With CI=true a skip that gives no
 * reason (`context.skip('needs …')`) is a failure: nothing is skipped in silence.
 */
export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 }
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed++
      for (const test of module.children.allTests()) {
        const result = test.result()
        if (result.state === 'passed') counts.passed++
        else if (result.state === 'failed') this.failed(test.fullName, counts)
        else this.skipped(test.fullName, 'note' in result ? result.note : undefined, counts)
      }
    }
    const file = process.env['KVX_TEST_SUMMARY']
    if (file !== undefined) writeFileSync(file, JSON.stringify(counts))
  }

  private failed(name: string, counts: { failed: number }): void {
    process.stdout.write(`failed: ${name}\n`)
    counts.failed++
  }

  private skipped(name: string, note: string | undefined, counts: { failed: number; skipped: number }): void {
    const stated = note !== undefined && note !== ''
    process.stdout.write(`skipped: ${name} (${note ?? 'without a stated reason'})\n`)
    if (stated || process.env['CI'] !== 'true') counts.skipped++
    else counts.failed++
  }
}
