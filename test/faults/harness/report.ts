import type { Row } from './engine.ts'
import type { PowerRow } from './power.ts'

type Cell = string | number

function table(head: readonly string[], lines: readonly (readonly Cell[])[]): string {
  const row = (cells: readonly Cell[]): string => `| ${cells.join(' | ')} |`
  const rule = `|${head.map((_, index) => (index < 2 ? '---|' : '---:|')).join('')}`
  return [row(head), rule, ...lines.map(row)].join('\n')
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function groups<T>(list: readonly T[], name: (one: T) => string): readonly (readonly T[])[] {
  return [...Map.groupBy(list, name).values()]
}

/** One line a command and store: every fault together. */
export function faultTable(rows: readonly Row[]): string {
  const head = [
    'command',
    'store',
    'points',
    'tried',
    'old',
    'new',
    'resumed',
    'rolled back',
    'killed again',
    'bad',
  ]
  const counts = (group: readonly Row[]): readonly number[] => [
    sum(group.map(({ points }) => points)),
    sum(group.map(({ tried }) => tried)),
    sum(group.map(({ old }) => old)),
    sum(group.map(({ done }) => done)),
    sum(group.map(({ resumed }) => resumed)),
    sum(group.map(({ rolledBack }) => rolledBack)),
    sum(group.map(({ again }) => again)),
    sum(group.map(({ bad }) => bad.length)),
  ]
  const lines = groups(rows, ({ command, store }) => `${command} ${store}`).map((group) => [
    `\`${group[0]?.command}\``,
    group[0]?.store ?? '',
    ...counts(group),
  ])
  return table(head, [...lines, ['all', '', ...counts(rows)]])
}

/** One line a kind of fault, over all commands. */
export function kindTable(rows: readonly Row[]): string {
  const lines = groups(rows, ({ fault }) => fault).map((group) => [
    group[0]?.fault ?? '',
    '',
    sum(group.map(({ points }) => points)),
    sum(group.map(({ tried }) => tried)),
    sum(group.map(({ bad }) => bad.length)),
  ])
  return table(['fault', '', 'points', 'tried', 'bad'], lines)
}

export function powerTable(rows: readonly PowerRow[]): string {
  const counts = (group: readonly PowerRow[]): readonly number[] => [
    sum(group.map(({ states }) => states)),
    sum(group.map(({ looked }) => looked)),
    sum(group.map(({ recovered }) => recovered)),
    sum(group.map(({ bad }) => bad.length)),
  ]
  const lines = groups(rows, ({ command, store }) => `${command} ${store}`).map((group) => [
    `\`${group[0]?.command}\``,
    group[0]?.store ?? '',
    ...counts(group),
  ])
  return table(
    ['command', 'store', 'states', 'looked at', 'recovered', 'bad'],
    [...lines, ['all', '', ...counts(rows)]],
  )
}
