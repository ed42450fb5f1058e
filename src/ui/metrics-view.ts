import type { Metric, Sample } from '../migration/metrics.ts'

/**
 * The text format of Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/. Without times,
 * which the textfile collector refuses.
 */
export function metricLines(metrics: readonly Metric[]): readonly string[] {
  return metrics.flatMap(({ name, help, samples }) => [
    `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
    `# TYPE ${name} gauge`,
    ...samples.map((sample) => `${name}${labelText(sample)} ${sample.value}`),
  ])
}

function labelText({ labels }: Sample): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
