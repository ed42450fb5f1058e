import { KvxError } from '../../core/errors.ts'

/** Rows of modules, true for a dark one. Around it stands nothing: the quiet zone is the page's. */
export type QrMatrix = readonly (readonly boolean[])[]

/** Modules that must stay light around a code. */
export const quietZone = 4

/**
 * The QR code of a text out of digits, capitals and a few signs. On paper a quarter of it may be damaged.
 * It is decoded again, by another algorithm than drew it, before anybody sees it: a card that can't be read is
 * noticed while the share is still there.
 * @throws KvxError READ_BACK_FAILED
 */
export async function qrCode(text: string, spare: 'low' | 'quartile' = 'quartile'): Promise<QrMatrix> {
  const { default: encodeQR } = await import('qr')
  const framed = encodeQR(text, 'raw', { ecc: spare, encoding: 'alphanumeric', border: 1 })
  const matrix = framed.slice(1, -1).map((row) => row.slice(1, -1))
  if ((await readBack(matrix)) === text) return matrix
  throw new KvxError('READ_BACK_FAILED', 'the QR code that was drawn does not say what it must', {
    hint: 'nothing was handed out; run it again, and report it when it happens twice',
  })
}

const scale = 4

async function readBack(matrix: QrMatrix): Promise<string | undefined> {
  const { default: decodeQR } = await import('qr/decode.js')
  const side = (matrix.length + 2 * quietZone) * scale
  const data = new Uint8Array(side * side * 4).fill(255)
  for (const [at] of data.entries()) {
    const pixel = Math.floor(at / 4)
    const row = Math.floor(Math.floor(pixel / side) / scale) - quietZone
    const column = Math.floor((pixel % side) / scale) - quietZone
    if (at % 4 !== 3 && matrix[row]?.[column] === true) data[at] = 0
  }
  try {
    return decodeQR({ width: side, height: side, data })
  } catch {
    return undefined // Its message may hold what it read.
  } finally {
    data.fill(0)
  }
}
