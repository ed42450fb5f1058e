import { monotonicMs } from '../platform/clock.ts'
import type { Events, Progress } from '../migration/events.ts'
import { count } from './columns.ts'

export type ProgressForm = 'human' | 'json' | 'none'

const terminalEveryMs = 100
const logEveryMs = 10_000
const barWidth = 24

/**
 * Progress on standard error: one line that is redrawn on a terminal, a line every ten seconds elsewhere, or JSON
 * lines. `end` clears the line.
 * @param isGivingWay whether the work rests for others at this moment
 */
export function progressReporter(
  form: ProgressForm,
  isGivingWay: () => boolean = () => false,
): Events & { readonly end: () => void } {
  if (form === 'none') return { progress: () => undefined, end: () => undefined }
  const terminal = form === 'human' && process.stderr.isTTY
  const every = terminal ? terminalEveryMs : logEveryMs
  const begun = monotonicMs()
  let phase = ''
  let phaseBegun = begun
  let shown = terminal ? 0 : begun
  return {
    progress: (progress) => {
      const now = monotonicMs()
      const current = `${progress.phase} ${progress.envelope}`
      if (current !== phase) {
        phase = current
        phaseBegun = now
      }
      if (now - shown < every) return
      shown = now
      const tail = isGivingWay() ? ', giving way' : ''
      process.stderr.write(lineOf(form, terminal, { ...progress, tail }, now - phaseBegun))
    },
    end: () => {
      if (terminal) process.stderr.write('\r\x1b[2K')
    },
  }
}

function lineOf(
  form: ProgressForm,
  terminal: boolean,
  { tail, ...progress }: Progress & { readonly tail: string },
  ms: number,
): string {
  if (form === 'json') return `${JSON.stringify({ ...progress, seconds: Math.round(ms / 1000) })}\n`
  const { phase, envelope, done, total } = progress
  const perSecond = ms > 0 ? (done * 1000) / ms : 0
  const left = perSecond > 0 && total > done ? `, ${duration((total - done) / perSecond)} left` : ''
  const text = `${phase} ${envelope}  ${count(done)} of ${count(Math.max(total, done))}  ${count(Math.round(perSecond))}/s${left}${tail}`
  return terminal ? `\r\x1b[2K${fitting(bar(done, total), text)}` : `${text}\n`
}

/** A line that wraps could not be drawn over: the bar goes first, then the end of the text. */
function fitting(drawn: string, text: string): string {
  const most = process.stderr.columns - 1
  const whole = `${drawn} ${text}`
  return whole.length <= most ? whole : text.slice(0, most)
}

function bar(done: number, total: number): string {
  const filled = total > 0 ? Math.min(barWidth, Math.floor((done / total) * barWidth)) : 0
  return `[${'='.repeat(filled)}${' '.repeat(barWidth - filled)}]`
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${Math.ceil(seconds / 3600)} h`
}
