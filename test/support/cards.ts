import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** The four lines of a card as a person copies them from the screen. */
export function copiedCard(screen: string): string {
  const shown = screen.slice(Math.max(0, screen.lastIndexOf('\x1b[?1049h')))
  return [...shown.matchAll(/[1-4] {2}((?:[A-Z0-9]{4} ?){4,6})/g)].map(([, line = '']) => line).join('')
}

/** The code of a card as a scanner reads it; `memory` is a folder that nobody else enters. */
export function scannedCard(pdf: Uint8Array, memory: string): string {
  execFileSync('pdftoppm', ['-r', '100', '-f', '1', '-l', '1', '-png', '-', join(memory, 'page')], {
    input: pdf,
  })
  const image = readdirSync(memory).find((name) => name.endsWith('.png')) ?? ''
  const { stdout } = spawnSync('zbarimg', ['--quiet', '--raw', join(memory, image)], { encoding: 'utf8' })
  rmSync(join(memory, image))
  return stdout.trim()
}
