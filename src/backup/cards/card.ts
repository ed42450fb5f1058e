import type PDFDocument from 'pdfkit'
import { encodeCardLines, type Share } from '../../core/share/share-text.ts'
import type { QrMatrix } from './qr-code.ts'
import { qrCode, quietZone } from './qr-code.ts'

/** What a card says besides the share. */
export type CardFacts = {
  /** `NAME@VERSION`; undefined for a card that does not say what it opens. */
  readonly subject: string | undefined
  /** 64 hex digits, where they are known: people compare them with what they rebuilt. */
  readonly fingerprint: string | undefined
  readonly custodian: string | undefined
  /** When the set was made, UTC. */
  readonly dealt: string | undefined
  /** Id of the ceremony. */
  readonly ceremony?: string | undefined
  /** SHA-256 of the public key that signed the manifest. */
  readonly auditKeyFingerprint: string | undefined
  /** SHA-256 of the recovery program that lies beside the manifest. */
  readonly programSha256: string | undefined
}

type Page = PDFDocument

const mm = 72 / 25.4
const margin = 12 * mm
const width = 148 * mm
const inner = width - 2 * margin
/** A module of the QR code: 41 of them are 49 mm, which 100 dpi still show. */
const moduleSize = 1.2 * mm
const plain = 'Helvetica'
const bold = 'Helvetica-Bold'

/**
 * A card of two A5 pages as PDF, in memory alone: the share as four lines and as QR code, and on the back how to use
 * it without kvx. The file says nothing of when, where and with what it was made. The libraries that draw take
 * strings: the process should end soon after. The caller wipes the bytes.
 * @throws KvxError READ_BACK_FAILED when the QR code does not decode to the share
 */
export async function drawCard(share: Share, facts: CardFacts): Promise<Buffer> {
  const lines = shareLines(share)
  const code = await qrCode(lines.join('').replaceAll(' ', ''))
  const { default: Document } = await import('pdfkit')
  // The id of a PDF is made of this date and the library's name; then even these go.
  const page = new Document({ size: 'A5', margin, font: plain, info: { CreationDate: new Date(0) } })
  page.info = {}
  page.endMetadata = () => undefined
  const bytes = collected(page)
  drawFront(page, share, { facts, lines, code })
  page.addPage()
  drawBack(page, share, facts)
  page.end()
  return bytes
}

/** What stands on top of a card. */
export function cardTitle(share: Share): string {
  const what = share.rehearsal === true ? 'REHEARSAL, NO KEY: SHARE' : 'KEY SHARE'
  return `${what} ${share.index} OF ${share.of}`
}

/** The four lines without their numbers. */
export function shareLines(share: Share): readonly string[] {
  const bytes = encodeCardLines(share)
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    .toString('latin1')
    .trimEnd()
    .split('\n')
  bytes.fill(0)
  return lines.map((line) => line.slice(3))
}

async function collected(page: Page): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of page as AsyncIterable<Buffer>) chunks.push(chunk)
  const whole = Buffer.concat(chunks)
  for (const chunk of chunks) chunk.fill(0)
  return whole
}

type Front = { readonly facts: CardFacts; readonly lines: readonly string[]; readonly code: QrMatrix }

function drawFront(page: Page, share: Share, { facts, lines, code }: Front): void {
  page.font(bold).fontSize(17)
  page.text(cardTitle(share), margin, margin, { lineBreak: false })
  page.font(plain).fontSize(10)
  page.text(
    `Any ${share.threshold} of ${share.of} rebuild the key. Fewer tell nothing.`,
    margin,
    margin + 22,
    { lineBreak: false },
  )
  const known: readonly (readonly [string, string | undefined])[] = [
    ['set', share.setId.toUpperCase()],
    ['key', facts.subject],
    ['check value', share.checkValue],
    ['dealt', facts.dealt?.slice(0, 10)],
    ['ceremony', facts.ceremony],
    ['custodian', printable(facts.custodian)],
  ]
  let y = margin + 44
  for (const [label, value] of known) {
    if (value === undefined) continue
    page.font(plain).fontSize(9).text(label, margin, y, { lineBreak: false })
    page
      .font(bold)
      .fontSize(10)
      .text(value, margin + 62, y - 1, { lineBreak: false })
    y += 13
  }
  drawShareLines(page, lines, margin + 122)
  const codeTop = margin + 218
  drawCode(page, code, codeTop)
  drawFields(page, codeTop)
  drawRules(page, codeTop + (code.length + 2 * quietZone) * moduleSize + 10)
}

function drawShareLines(page: Page, lines: readonly string[], top: number): void {
  page.lineWidth(0.8).strokeColor('black')
  page.rect(margin, top, inner, 88).stroke()
  lines.forEach((line, at) => {
    const y = top + 9 + at * 19
    page
      .font(plain)
      .fontSize(10)
      .text(String(at + 1), margin + 8, y + 2, { lineBreak: false })
    page
      .font('Courier-Bold')
      .fontSize(14.5)
      .text(line, margin + 28, y, { lineBreak: false })
  })
}

function drawCode(page: Page, code: QrMatrix, top: number): void {
  const left = margin
  page.fillColor('black')
  code.forEach((row, y) =>
    row.forEach((isDark, x) => {
      if (!isDark) return
      const [at, down] = [x + quietZone, y + quietZone].map((place) => place * moduleSize)
      page.rect(left + (at ?? 0), top + (down ?? 0), moduleSize, moduleSize)
    }),
  )
  page.fill()
}

/** Lines for a pen, at the right of the code. */
function drawFields(page: Page, top: number): void {
  const left = margin + 62 * mm
  const right = margin + inner
  const fields = ['received by', 'date', 'bag number', 'witness', 'witness']
  fields.forEach((label, at) => {
    const y = top + 30 + at * 29
    page.lineWidth(0.5).strokeColor('black').moveTo(left, y).lineTo(right, y).stroke()
    page
      .font(plain)
      .fontSize(7)
      .text(label, left, y + 2, { lineBreak: false })
  })
}

const rules = [
  'Keep it in a sealed bag, in a place that you alone can open. Never beside another share.',
  'Never photograph it, scan it with a telephone, or send it. Nobody may ask you for its text.',
  'Once a year prove alone that you have it: kvx share verify. Read out the receipt, nothing else.',
  'Lost, or seen by others? Say so the same day.',
]

function drawRules(page: Page, top: number): void {
  page.font(plain).fontSize(8.5)
  let y = top
  for (const [at, rule] of rules.entries()) {
    page.text(String(at + 1), margin, y, { lineBreak: false })
    page.text(rule, margin + 14, y, { width: inner - 14 })
    y = page.y + 3
  }
}

function drawBack(page: Page, share: Share, facts: CardFacts): void {
  const set = share.setId.toUpperCase()
  const back =
    share.rehearsal === true
      ? 'REHEARSAL: nothing is rebuilt from this card'
      : 'How to rebuild the key without kvx'
  page.font(bold).fontSize(13).text(back, margin, margin, { width: inner })
  const steps = [
    `Bring ${share.threshold} custodians of set ${set} with their cards into one room. Take a computer off the network; best is one that is erased afterwards.`,
    'The program recover.py (45 lines, Python 3, nothing else) lies beside the manifest of the set and with every custodian’s files. README.txt there says the same as this page, longer.',
    'Type: python3 recover.py. Enter the four lines of each card, one card after the other; then Enter and Ctrl-D. There is no B, I, O in them, and no 1 after KVX1: what looks so is 8, L, 0, L.',
    'Compare all 64 digits of the fingerprint that it prints with those below, or with the manifest. Only then is it the right key.',
    'With kvx: kvx restore --from shares. It shows nothing on the screen and names a wrong card at once.',
    'No program at all? The text is KVX1 and 84 characters of bech32’s alphabet: version, needed-1, all-1, number-1, set (6), check value (8), y and x (53), BIP-93 checksum (13). Shamir’s scheme byte by byte in GF(256) mod 0x11b; the key is the value at 0.',
  ]
  let y = margin + 26
  for (const [at, step] of steps.entries()) {
    page.font(plain).fontSize(9.5)
    page.text(`${at + 1}`, margin, y, { lineBreak: false })
    page.text(step, margin + 16, y, { width: inner - 16, lineGap: 1.5 })
    y = page.y + 6
  }
  const digests = [
    ['fingerprint of the key', facts.fingerprint],
    ['SHA-256 of recover.py', facts.programSha256],
    ['public key that signed the manifest, SHA-256', facts.auditKeyFingerprint],
  ] as const
  y += 6
  for (const [label, value] of digests) {
    if (value === undefined) continue
    page.font(plain).fontSize(8).text(label, margin, y, { lineBreak: false })
    // 64 digits in groups of 8: an eye keeps its place.
    const groups = value.match(/.{8}/g) ?? []
    for (const [half, part] of [groups.slice(0, 4), groups.slice(4)].entries()) {
      page
        .font('Courier-Bold')
        .fontSize(9.5)
        .text(part.join(' '), margin, y + 11 + half * 12, { lineBreak: false })
    }
    y += 42
  }
}

/** The standard fonts have the signs of Latin-1: another name is written by hand. */
function printable(name: string | undefined): string | undefined {
  return name !== undefined && /^[\u0020-\u007e\u00a0-\u00ff]*$/.test(name) ? name : undefined
}
