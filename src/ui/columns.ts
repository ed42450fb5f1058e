/** Plain columns, two spaces apart, numbers to the right. Cells hold no control characters by contract. */
export function columns(rows: readonly (readonly (string | number | bigint)[])[], indent = ''): string[] {
  const texts = rows.map((row) => row.map(String))
  const widths: number[] = []
  for (const row of texts) {
    row.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, cell.length)
    })
  }
  return rows.map((row, at) =>
    (
      indent +
      row
        .map((cell, index) => {
          const text = texts[at]?.[index] ?? ''
          const width = widths[index] ?? 0
          return typeof cell === 'string' ? text.padEnd(width) : text.padStart(width)
        })
        .join('  ')
    ).trimEnd(),
  )
}

/** 1234567 as `1,234,567`: the same in every locale, so that scripts and tests read one form. */
export function count(value: number | bigint): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** How wide help may be: as the terminal is, never wider than a line that is read with ease. */
export function helpWidth(stream: { readonly columns?: number }): number {
  const widest = 110
  return Math.min(Math.max(stream.columns ?? widest, 40), widest)
}

/** The text broken at blanks into lines of at most `width` characters, where its words allow. */
export function wrapped(text: string, width: number): string {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last !== '' && last.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines.join('\n')
}
