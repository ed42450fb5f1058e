/** Bytes as a literal of the layout language: quoted where they are text, else hex digits. */
export function literal(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes)
  if (!buffer.every((byte) => byte === 0x0a || byte === 0x0d || (byte >= 0x20 && byte < 0x7f))) {
    return `0x${buffer.toString('hex')}`
  }
  const text = buffer
    .toString('latin1')
    .replace(/[\\"]/g, (sign) => `\\${sign}`)
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
  return `"${text}"`
}
