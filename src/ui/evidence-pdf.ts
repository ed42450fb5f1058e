import type PDFDocument from 'pdfkit'
import type { EvidenceSection, EvidenceTable } from './evidence-view.ts'

type Page = PDFDocument

const margin = 40
/** A4, in points of 1/72 inch. */
const inner = 595.28 - 2 * margin
const bottom = 841.89 - margin
const plain = 'Helvetica'
const bold = 'Helvetica-Bold'
const gap = 6

/** The report as PDF, in memory. It says nothing of when and with what the file itself was made. */
export async function evidencePdf(sections: readonly EvidenceSection[]): Promise<Buffer> {
  const { default: Document } = await import('pdfkit')
  const page = new Document({ size: 'A4', margin, font: plain, info: { CreationDate: new Date(0) } })
  page.info = {}
  page.endMetadata = () => undefined
  const chunks: Buffer[] = []
  page.on('data', (chunk: Buffer) => chunks.push(chunk))
  const ended = new Promise<void>((done) => page.on('end', done))
  let y = margin
  for (const { title, level, blocks } of sections) {
    y = drawText(page, { text: title, font: bold, size: level === 1 ? 18 : 13 }, y + (level === 1 ? 0 : 14))
    for (const block of blocks) {
      y =
        typeof block === 'string'
          ? drawText(page, { text: block, font: plain, size: 9 }, y)
          : drawTable(page, block, y)
    }
  }
  page.end()
  await ended
  return Buffer.concat(chunks)
}

type Text = { readonly text: string; readonly font: string; readonly size: number }

/** @returns where the next block begins */
function drawText(page: Page, { text, font, size }: Text, y: number): number {
  page.font(font).fontSize(size)
  const shown = printable(text)
  const height = page.heightOfString(shown, { width: inner })
  const top = roomFor(page, y, height)
  page.text(shown, margin, top, { width: inner })
  return top + height + gap
}

/** On a new page where the rest of this one is too short. */
function roomFor(page: Page, y: number, height: number): number {
  if (y + height <= bottom) return y
  page.addPage()
  return margin
}

function drawTable(page: Page, { head, rows }: EvidenceTable, y: number): number {
  const widths = columnWidths(head, rows)
  let at = y
  const draw = (row: readonly string[], font: string): void => {
    const cells = laidOut(page, row, { widths, font })
    at = paintRow(page, cells, at)
  }
  draw(head, bold)
  for (const row of rows) {
    const { height } = laidOut(page, row, { widths, font: plain })
    if (at + height > bottom) {
      page.addPage()
      at = margin
      draw(head, bold)
    }
    draw(row, plain)
  }
  return at + gap
}

type Row = {
  readonly cells: readonly { readonly text: string; readonly width: number }[]
  readonly font: string
  readonly height: number
}

function laidOut(
  page: Page,
  row: readonly string[],
  { widths, font }: { readonly widths: readonly number[]; readonly font: string },
): Row {
  page.font(font).fontSize(7)
  const cells = row.map((cell, index) => ({
    text: printable(cell),
    width: (widths[index] ?? 0) - gap,
  }))
  const heights = cells.map(({ text, width }) => page.heightOfString(text || ' ', { width }))
  return { cells, font, height: Math.max(...heights) + 4 }
}

function paintRow(page: Page, { cells, font, height }: Row, y: number): number {
  const top = roomFor(page, y, height)
  page.font(font).fontSize(7)
  let x = margin
  for (const { text, width } of cells) {
    page.text(text, x, top + 2, { width })
    x += width + gap
  }
  const line = top + height - 1
  page
    .lineWidth(0.3)
    .strokeColor('#999999')
    .moveTo(margin, line)
    .lineTo(margin + inner, line)
    .stroke()
  return top + height
}

/** By the longest cell of each column, none narrower than a short word. */
function columnWidths(head: readonly string[], rows: readonly (readonly string[])[]): readonly number[] {
  const needs = head.map((title, index) =>
    Math.min(
      60,
      Math.max(11, ...[title, ...rows.map((row) => row[index] ?? '')].map(({ length }) => length)),
    ),
  )
  const all = needs.reduce((sum, need) => sum + need, 0)
  return needs.map((need) => (need / all) * inner)
}

/** The standard fonts know Latin letters alone. */
function printable(text: string): string {
  return text
    .replaceAll(/[‘’]/g, "'")
    .replaceAll(/[“”]/g, '"')
    .replaceAll(/[^\x20-\x7e\u00a1-\u00ff]/g, '?')
}
