import { join } from 'node:path'
import { requireDealt } from '../backup/shares/examine.ts'
import { shownSet } from '../backup/shares/share-set.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import type { HandOver, Handing } from '../keyring/hand-over.ts'
import { removeFile } from '../platform/files.ts'
import { openCardOutput, putCard } from './card-output.ts'
import { renderError } from './error-view.ts'
import { requirePrivateScreen } from './private-screen.ts'
import { type Answers, askYes } from './prompts.ts'
import { takeShare } from './share-reader.ts'
import { TerminalShares } from './share-terminal.ts'

/**
 * How cards are handed over here, or undefined where nobody is at a terminal.
 * @param cardDirectory a folder in memory for the PDF of one card at a time; shown on the screen without it
 */
export function handOverAt(answers: Answers, cardDirectory: string | undefined): HandOver | undefined {
  if (answers.noInput || !process.stdin.isTTY || !process.stdout.isTTY || !process.stderr.isTTY)
    return undefined
  return async (handing) => handOverCard(handing, answers, cardDirectory)
}

/** One custodian: everybody else looks away, the card goes from hand to hand, its holder types it back. */
async function handOverCard(
  handing: Handing,
  answers: Answers,
  cardDirectory: string | undefined,
): Promise<boolean> {
  const { share, set, custodian } = handing
  say(`Share ${share.index} of set ${shownSet(set)} is for ${custodian}. Everybody else looks away now.`)
  await requireYes(`Is ${custodian} here and ready?`)
  if (cardDirectory === undefined) {
    requirePrivateScreen(answers.noInput)
    const output = await openCardOutput(undefined, { noInput: answers.noInput, mayPipe: false })
    await putCard(output, share, handing.facts)
  } else await onPaper(handing, cardDirectory, answers)
  return typedBack(handing, answers)
}

async function onPaper(
  { share, set, facts, custodian }: Handing,
  directory: string,
  answers: Answers,
): Promise<void> {
  const path = join(directory, `${shownSet(set)}-share-${share.index}.pdf`)
  const output = await openCardOutput(path, { noInput: answers.noInput, mayPipe: false })
  await putCard(output, share, facts)
  try {
    say(`Print it from another terminal: lp -o media=A5 ${path}`)
    await requireYes(`Does ${custodian} hold the card? Then the file is removed.`)
  } finally {
    await removeFile(path)
  }
}

async function requireYes(question: string): Promise<void> {
  if (await askYes(question)) return
  throw new KvxError('CANCELLED', 'stopped before all cards were handed over', {
    hint: 'Tear the cards up that were handed out, and split again when everybody is there. The set counts for nothing.',
  })
}

/** The card is proven while the share can still be dealt again. Ctrl-D is for later. */
async function typedBack({ share, set, custodian }: Handing, answers: Answers): Promise<boolean> {
  const input = new TerminalShares()
  try {
    for (;;) {
      const text = await input.next(
        `${custodian}: type, paste or scan your card; nothing is shown. Ctrl-D to do it later with \`kvx share verify\`.`,
      )
      if (text === undefined) return false
      try {
        const read = await takeShare(text, answers, 'check')
        try {
          const { index } = requireDealt(read, set)
          if (index === share.index) return true
          throw new KvxError(
            'BACKUP_UNUSABLE',
            `that is share ${index}, and this card is share ${share.index}`,
          )
        } finally {
          read.point.wipe()
        }
      } catch (error) {
        if (!isKvxError(error) || error.code === 'CANCELLED') throw error
        process.stderr.write(renderError(error, process.stderr))
      }
    }
  } finally {
    input.close()
  }
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
