import { resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { openWorkspace } from '../src/keyring/workspace.ts'
import { Journal } from '../src/migration/journal.ts'
import { takeMetrics } from '../src/migration/metrics.ts'
import { putFile } from '../src/platform/put-file.ts'
import { metricLines } from '../src/ui/metrics-view.ts'
import { KvxCommand } from './_program/kvx-command.ts'

const readableByAll = 0o644

export default class Metrics extends KvxCommand {
  static override summary = 'Keys, backups, runs and the last verify as metrics for Prometheus.'
  static override description =
    'Prints the text format of Prometheus: ages and due dates of keys, what is published, backups, runs, and what the last full `kvx verify` of each envelope found. Reads the home and the published places and opens no record. The names hold no secret: --textfile makes a file that every user may read, as the collector of node_exporter needs.'
  static override examples = [
    { description: 'On the screen', command: '<%= config.bin %> metrics' },
    {
      description: 'For node_exporter, from a timer',
      command: '<%= config.bin %> metrics --textfile /var/lib/prometheus/node-exporter/kvx.prom',
    },
  ]
  static override flags = {
    textfile: Flags.string({
      description: 'write to this file at once, in place of printing; its name ends in .prom',
      helpValue: 'FILE',
    }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.metrics/1', async () => {
      const { flags } = await this.parse(Metrics)
      const workspace = await openWorkspace(flags)
      const journal = Journal.open(workspace.home, { look: true })
      try {
        const metrics = await takeMetrics(workspace, journal)
        const lines = metricLines(metrics)
        const file = flags.textfile === undefined ? null : resolve(flags.textfile)
        const written = file !== null && !flags['dry-run']
        if (written) await putFile(file, Buffer.from(`${lines.join('\n')}\n`), readableByAll)
        return {
          data: { metrics, textfile: written ? file : null },
          lines: file === null ? lines : [`${written ? 'wrote' : 'would write'} ${file}`],
        }
      } finally {
        journal.close()
      }
    })
  }
}
