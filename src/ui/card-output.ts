import { isatty } from 'node:tty'
import { basename, dirname, join, resolve } from 'node:path'
import { type CardFacts, drawCard } from '../backup/cards/card.ts'
import { KvxError } from '../core/errors.ts'
import type { Share } from '../core/share/share-text.ts'
import { createFile } from '../platform/create-file.ts'
import { shownPath } from '../platform/file-errors.ts'
import { exists } from '../platform/files.ts'
import { isInMemory } from '../platform/in-memory.ts'
import { recordingNotices } from '../platform/surroundings.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { cardScreen } from './card-screen.ts'
import { requirePrivateScreen, showPrivately } from './private-screen.ts'

/** Where one card goes. A pipe is for `lp` or a label printer: the PDF never touches a disk. */
export type CardOutput =
  | { readonly kind: 'screen' }
  | { readonly kind: 'pipe' }
  | { readonly kind: 'file'; readonly path: string }

/**
 * Looks at the place before any key or share is read.
 * @param out the value of `--out`; the terminal without it
 * @throws KvxError NO_TERMINAL without a screen; USAGE for a PDF on a terminal; UNSAFE_DIRECTORY for a file on a
 * disk; TARGET_EXISTS
 */
export async function openCardOutput(
  out: string | undefined,
  how: { readonly noInput: boolean; readonly mayPipe: boolean },
): Promise<CardOutput> {
  if (out === undefined) {
    requirePrivateScreen(how.noInput)
    // Said before a share is read: the person may still stop.
    for (const { message } of recordingNotices()) process.stderr.write(`warning: ${message}\n`)
    return { kind: 'screen' }
  }
  if (out === '-') {
    if (how.mayPipe && !isatty(1)) return { kind: 'pipe' }
    throw new KvxError('USAGE', 'a card goes to standard output alone, into a pipe', {
      hint: 'Send it on: `kvx share print --out - | lp`, without `--json`; or `--out FILE` in memory. Nothing was read.',
    })
  }
  return { kind: 'file', path: await memoryPath(out) }
}

/** A new file in a folder that lies in memory. */
async function memoryPath(out: string): Promise<string> {
  const folder = await checkDirectoryTrust(dirname(resolve(out)))
  const path = join(folder, basename(resolve(out)))
  if (!(await isInMemory(folder))) {
    throw new KvxError('UNSAFE_DIRECTORY', `${shownPath(folder)} lies on a disk, where a share would stay`, {
      hint: 'Choose a folder in memory: `--out "$XDG_RUNTIME_DIR/card.pdf"`, or one of your own in /dev/shm. Nothing was read.',
    })
  }
  if (!(await exists(path))) return path
  throw new KvxError('TARGET_EXISTS', `${shownPath(path)} exists already and is not overwritten`, {
    hint: 'print it and remove it, then run this again',
  })
}

/** Gives one card out; on a screen it stays until Enter. @throws KvxError CANCELLED, READ_BACK_FAILED, of the file */
export async function putCard(output: CardOutput, share: Share, facts: CardFacts): Promise<void> {
  if (output.kind === 'screen') {
    return await showPrivately(await cardScreen(share, 'Copied? Press Enter: the screen is cleared.'))
  }
  const pdf = await drawCard(share, facts)
  try {
    if (output.kind === 'file') await createFile(output.path, pdf, { mode: 0o600 })
    else await written(pdf)
  } finally {
    pdf.fill(0)
  }
}

async function written(pdf: Buffer): Promise<void> {
  return new Promise((done, failed) => {
    process.stdout.write(pdf, (error) => {
      if (error == null) done()
      else failed(new KvxError('IO_ERROR', 'the card could not be written to the pipe: its reader has gone'))
    })
  })
}
