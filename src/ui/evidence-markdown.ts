import type { EvidenceSection, EvidenceTable } from './evidence-view.ts'

export function evidenceMarkdown(sections: readonly EvidenceSection[]): string {
  const parts = sections.flatMap(({ title, level, blocks }) => [
    `${'#'.repeat(level)} ${title}`,
    ...blocks.map((block) => (typeof block === 'string' ? block : tableText(block))),
  ])
  return `${parts.join('\n\n')}\n`
}

function tableText({ head, rows }: EvidenceTable): string {
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}

function line(cells: readonly string[]): string {
  return `| ${cells.map(cell).join(' | ')} |`
}

/** A cell is one line, and what it says is no markup. */
function cell(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, ' ').replaceAll(/[\\|<>*_]/g, '\\$&')
}
