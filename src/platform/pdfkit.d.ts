/** The part of pdfkit that cards and reports use; the package brings no types. Lengths are points of 1/72 inch. */
declare module 'pdfkit' {
  import type { Readable } from 'node:stream'

  type TextOptions = {
    readonly width?: number
    readonly align?: 'left' | 'center' | 'right'
    readonly lineGap?: number
    readonly lineBreak?: boolean
    readonly characterSpacing?: number
  }

  export default class PDFDocument extends Readable {
    constructor(options: {
      readonly size: string
      readonly margin: number
      readonly font: string
      readonly info: Readonly<Record<string, unknown>>
    })
    /** Written to the file by `end`. */
    info: Record<string, unknown>
    /** Called by `end`, to write the same once more as XML. */
    endMetadata: () => void
    /** Where the next text begins. */
    y: number
    addPage(): this
    font(name: string): this
    fontSize(size: number): this
    fillColor(colour: string): this
    strokeColor(colour: string): this
    lineWidth(width: number): this
    heightOfString(text: string, options: TextOptions): number
    text(text: string, x: number, y: number, options?: TextOptions): this
    rect(x: number, y: number, width: number, height: number): this
    moveTo(x: number, y: number): this
    lineTo(x: number, y: number): this
    fill(): this
    stroke(): this
    end(): void
  }
}
