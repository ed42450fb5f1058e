import type { KvxError } from '../core/errors.ts'
import { colours, type Stream } from './colours.ts'

/** What a person sees of an error: what and which, then the command that mends it. */
export function renderError(error: KvxError, stream: Stream): string {
  const { red, dim } = colours(stream)
  const hint = error.hint === undefined ? '' : `${dim('  →')} ${error.hint}\n`
  return `${red('kvx:')} ${error.message}\n${hint}`
}
