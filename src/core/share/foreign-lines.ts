/** Texts that stand one a line, without blanks around them; empty lines are none. The caller wipes them. */
export function trimmedLines(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = []
  let from = 0
  for (let at = 0; at <= bytes.length; at++) {
    if (at < bytes.length && bytes[at] !== 0x0a && bytes[at] !== 0x0d) continue
    let [start, end] = [from, at]
    while (start < end && isBlank(bytes[start])) start++
    while (end > start && isBlank(bytes[end - 1])) end--
    if (end > start) lines.push(new Uint8Array(bytes.subarray(start, end)))
    from = at + 1
  }
  return lines
}

function isBlank(code: number | undefined): boolean {
  return code === 0x20 || code === 0x09
}
