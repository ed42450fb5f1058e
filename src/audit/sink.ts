import { join } from 'node:path'
import { isKvxError } from '../core/errors.ts'
import { inBackground } from '../platform/background.ts'
import { runChild, toolFailed } from '../platform/child.ts'
import { exists, makeDirectory, readFileCapped } from '../platform/files.ts'
import { whileLocked } from '../platform/lingering-lock.ts'
import { notice } from '../platform/notices.ts'
import { openStreamReader } from '../platform/stream-file.ts'
import { writeState } from '../platform/state-file.ts'
import { logPath } from './log-lines.ts'

/** A program that takes entries on its standard input, one JSON line each. */
export type SinkProgram = readonly [program: string, ...args: string[]]

/** Gives entries to a place besides the log. It never blocks the work, and never fails it in silence. */
export type Sink = {
  /** Something was appended: what was not given out yet goes on its way, in the background. */
  notify(): void
}

/** A program that does not answer is given up for this command. */
const patienceMs = 5000
const lockPatienceMs = 2000
const batchBytes = 1_048_576
const maxPositionBytes = 4096

/**
 * Entries go out in their order, the first ones first. How far it came stands in `sink/position.json`, written after
 * the program took them: a crash in between gives some of them twice, and their numbers tell.
 */
export function openSink(directory: string, program: SinkProgram): Sink {
  let running: Promise<void> | undefined
  let again = false
  let failed = false
  const run = async (): Promise<void> => {
    try {
      do {
        again = false
        await deliver(directory, program)
      } while (again)
    } catch (error) {
      failed = true
      const why = isKvxError(error) ? error.message : 'an unexpected failure'
      notice(
        'AUDIT_SINK_BEHIND',
        `the audit sink did not take the last entries: ${why}. They stand in the log and go with the next command that writes to it`,
      )
    } finally {
      running = undefined
    }
  }
  return {
    notify() {
      if (failed) return
      again = true
      if (running !== undefined) return
      running = run()
      inBackground(running)
    },
  }
}

async function deliver(directory: string, program: SinkProgram): Promise<void> {
  const folder = sinkFolder(directory)
  await makeDirectory(folder, 0o700)
  await whileLocked(folder, { what: 'the audit sink', waitMs: lockPatienceMs }, async () => {
    for (let at = await positionOf(directory); ; ) {
      const { batch, start } = await readFrom(logPath(directory), at)
      if (batch.length === 0) return
      const [tool, ...args] = program
      const { exitCode } = await runChild(tool, args, {
        input: batch,
        timeoutMs: patienceMs,
        ownSession: true,
      })
      if (exitCode !== 0) throw toolFailed(tool, exitCode, 'took entries of the audit log')
      at = start + batch.length
      await writeState(positionPath(directory), Buffer.from(`${JSON.stringify({ bytes: at })}\n`))
    }
  })
}

function sinkFolder(directory: string): string {
  return join(directory, 'sink')
}

function positionPath(directory: string): string {
  return join(sinkFolder(directory), 'position.json')
}

/** So many bytes of the log were given out. A position that cannot be read begins anew: twice is better than never. */
async function positionOf(directory: string): Promise<number> {
  const path = positionPath(directory)
  if (!(await exists(path))) return 0
  const { bytes } = await readFileCapped(path, { maxBytes: maxPositionBytes })
  try {
    const { bytes: at } = JSON.parse(bytes.toString('utf8')) as { readonly bytes: unknown }
    return typeof at === 'number' && Number.isSafeInteger(at) && at >= 0 ? at : 0
  } catch {
    return 0
  }
}

/** Whole lines from there on, a batch at most. A log that is shorter than it was is another one. */
async function readFrom(
  path: string,
  at: number,
): Promise<{ readonly batch: Buffer; readonly start: number }> {
  const reader = await openStreamReader(path)
  try {
    const { size } = reader.facts
    const start = at > size ? 0 : at
    const bytes = await reader.read(start, Math.min(batchBytes, size - start))
    return { batch: bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1), start }
  } finally {
    await reader.close()
  }
}

/** How many bytes of the log the sink lacks. */
export async function sinkBacklog(directory: string): Promise<number> {
  const path = logPath(directory)
  if (!(await exists(path))) return 0
  const reader = await openStreamReader(path)
  try {
    return Math.max(0, reader.facts.size - (await positionOf(directory)))
  } finally {
    await reader.close()
  }
}
