import type { RestoreSession } from '../backup/shares/restore-session.ts'
import { isKvxError } from '../core/errors.ts'
import type { ShareSource } from '../keyring/share-source.ts'
import { renderError } from './error-view.ts'
import type { Answers } from './prompts.ts'
import { type ShareInput, takeShare } from './share-reader.ts'

/** Shares of several custodians, one after another; who is still missing stands in each question. */
export function shareSource(input: ShareInput, answers: Answers): ShareSource {
  return {
    collect: async (session, count) => collect(input, session, { count, answers }),
    retry: input.interactive ? (why) => process.stderr.write(renderError(why, process.stderr)) : undefined,
  }
}

/** From a descriptor all shares are taken, and one that is refused ends it; a person may enter another. */
async function collect(
  input: ShareInput,
  session: RestoreSession,
  how: { readonly count: 'enough' | number; readonly answers: Answers },
): Promise<void> {
  const { count, answers } = how
  const isDone = (): boolean => (count === 'enough' ? session.isEnough : session.count >= count)
  while (!input.interactive || !isDone()) {
    const custodians = session.missingCustodians()
    const who = custodians.length === 0 ? '' : ` (${custodians.join(', ')})`
    const text = await input.next(
      `Next share, typed, pasted or scanned; nothing is shown. You ${session.status()}${who}`,
    )
    if (text === undefined) return
    try {
      session.add(await takeShare(text, answers))
      if (input.interactive) process.stderr.write(`taken: ${session.status()}\n`)
    } catch (error) {
      if (!input.interactive || !isKvxError(error) || error.code === 'CANCELLED') throw error
      process.stderr.write(renderError(error, process.stderr))
    }
  }
}
