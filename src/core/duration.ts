const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, y: 365 * 86_400 }

/**
 * A duration as operators write it, `30s`, `5m`, `2h`, `7d`, `3y` (365 days), in milliseconds; undefined for
 * anything else.
 */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,5})([smhdy])$/.exec(text)
  const seconds = unitSeconds[match?.[2] ?? '']
  return match === null || seconds === undefined ? undefined : Number(match[1]) * seconds * 1000
}
