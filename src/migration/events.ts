import { KvxError } from '../core/errors.ts'
import { interrupted } from '../platform/interrupt.ts'

export type Progress = {
  readonly phase: 'plan' | 'rewrap' | 'reencrypt' | 'seal' | 'verify' | 'restore' | 'discover'
  readonly envelope: string
  readonly done: number
  readonly total: number
}

/** What a run tells while it works. The engine prints nothing itself. */
export type Events = { readonly progress: (progress: Progress) => void }

/**
 * Called between two batches, where everything that was acknowledged is durable.
 * @throws INTERRUPTED when a signal asked to stop
 */
export function stopIfInterrupted(run: string | undefined): void {
  const signal = interrupted()
  if (signal === undefined) return
  throw new KvxError(
    'INTERRUPTED',
    `stopped by ${signal} between two batches; everything written so far is consistent`,
    {
      hint:
        run === undefined
          ? 'Nothing was changed. Run the command again.'
          : `Go on with \`kvx run resume ${run}\`, or undo it with \`kvx run rollback ${run}\`.`,
      ...(run === undefined ? {} : { details: { run } }),
    },
  )
}
