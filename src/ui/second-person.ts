import { KvxError } from '../core/errors.ts'
import { checkValueOf } from '../core/fingerprint.ts'
import { type Answers, askInput, canAsk } from './prompts.ts'

/** How many characters at the end of a fingerprint a second person types: 24 bits, read from elsewhere. */
const tail = 6

/**
 * Before a key that came back is written: a second person types the end of its fingerprint, which is not shown, so
 * that it is read from elsewhere. Told again until it is right: the shares need not be entered once more.
 * `--expect-fingerprint` or `--confirm NAME@VERSION` answers beforehand. A key for a bare file, of which nobody may
 * have the fingerprint, can go without; it stays unproven.
 * @param key.subject `NAME@VERSION`; undefined for a bare file
 * @param expected `--expect-fingerprint`: all of it was given, and it was compared already
 * @throws NOT_CONFIRMED for a home without an answer; CANCELLED for Ctrl-C
 */
export async function confirmFingerprint(
  { subject, fingerprint }: { readonly subject: string | undefined; readonly fingerprint: string },
  answers: Answers,
  expected: string | undefined,
): Promise<void> {
  if (expected !== undefined) return
  if (subject !== undefined && answers.confirm === subject) return
  if (canAsk(answers) && answers.confirm === undefined) return askTail(subject, fingerprint)
  if (subject === undefined) return
  throw new KvxError(
    'NOT_CONFIRMED',
    `before ${subject} is put back, a second person has to recognise its fingerprint; nothing was written`,
    {
      hint: `On a terminal its last six characters are asked for. Without one, add \`--expect-fingerprint FP\` with all of it (the record of the ceremony, the manifest, \`kvx key show ${nameOf(subject)}\`), or \`--confirm ${subject}\`.`,
    },
  )
}

async function askTail(subject: string | undefined, fingerprint: string): Promise<void> {
  const canSkip = subject === undefined
  const elsewhere = canSkip ? '' : `, \`kvx key show ${nameOf(subject)}\` on another screen`
  process.stderr.write(
    `${subject ?? 'The key'} came back with the check value ${checkValueOf(fingerprint)}. Nothing is written yet.\n` +
      `A second person takes its fingerprint from elsewhere: the record of the ceremony, the manifest${elsewhere}.\n`,
  )
  const skip = canSkip ? ', or Enter alone if nobody has it' : ''
  await askInput(`Second person: the last six characters of the fingerprint${skip}:`, {
    validate: (typed) => {
      if (canSkip && typed === '') return true
      if (typed.replaceAll(/[\s:]/g, '').toLowerCase() === fingerprint.slice(-tail)) return true
      return 'That is not how the fingerprint of this key ends. Read it again; Ctrl-C writes nothing.'
    },
  })
}

function nameOf(subject: string): string {
  return subject.split('@')[0] ?? subject
}
