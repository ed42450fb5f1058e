import { KvxError } from '../core/errors.ts'

/** How a person answers: at a prompt, or beforehand by a flag. */
export type Answers = {
  readonly yes: boolean
  readonly confirm: string | undefined
  readonly noInput: boolean
}

/** Prompts are drawn on standard error and need a terminal on both sides. */
export function canAsk(answers: Answers): boolean {
  return !answers.noInput && process.stdin.isTTY && process.stderr.isTTY
}

/**
 * A reversible step or a run: a prompt, or `--yes`.
 * @throws NOT_CONFIRMED for a no, and without a terminal or the flag: never a silent yes
 */
export async function confirmStep(question: string, answers: Answers): Promise<void> {
  if (answers.yes) return
  if (!canAsk(answers)) {
    throw new KvxError('NOT_CONFIRMED', 'this needs a yes, and there is no terminal to ask at', {
      hint: 'Add `--yes`, or look at the plan first with `--dry-run`. Nothing was changed.',
    })
  }
  const { default: ask } = await import('@inquirer/confirm')
  const yes = await cancellable(async () =>
    ask({ message: question, default: false }, { output: process.stderr }),
  )
  if (!yes) throw new KvxError('NOT_CONFIRMED', 'not confirmed; nothing was changed')
}

/**
 * A step that takes something away: its name typed, or `--confirm NAME@VERSION`.
 * @throws NOT_CONFIRMED
 */
export async function confirmTyped(question: string, expected: string, answers: Answers): Promise<void> {
  const typed =
    answers.confirm ?? (canAsk(answers) ? await askText(`${question} Type ${expected} to go on:`) : undefined)
  if (typed === expected) return
  throw new KvxError(
    'NOT_CONFIRMED',
    `this needs the text ${expected} as confirmation; nothing was changed`,
    {
      hint: `Type it at the prompt, or add \`--confirm ${expected}\`.`,
    },
  )
}

/** A line of text that is no secret. @throws NO_TERMINAL naming the flag that answers instead */
export async function askLine(question: string, answers: Answers, flag: string): Promise<string> {
  if (!canAsk(answers)) {
    throw new KvxError('NO_TERMINAL', 'there is no terminal to ask at', {
      hint: `Give the answer with \`${flag}\`.`,
    })
  }
  return askText(question)
}

async function askText(message: string): Promise<string> {
  return askInput(message)
}

export type InputOptions = {
  /** What Enter alone answers. */
  readonly default?: string | undefined
  /** True, or what is wrong: it is shown below the question, which stays. */
  readonly validate?: (answer: string) => true | string | Promise<true | string>
}

/** A line of text that is no secret, trimmed. A terminal is there: see `canAsk`. @throws CANCELLED for Ctrl-C */
export async function askInput(message: string, options: InputOptions = {}): Promise<string> {
  const { default: ask } = await import('@inquirer/input')
  const { validate } = options
  const config = {
    message,
    ...(options.default === undefined ? {} : { default: options.default }),
    ...(validate === undefined ? {} : { validate: async (answer: string) => validate(answer.trim()) }),
  }
  return (await cancellable(async () => ask(config, { output: process.stderr }))).trim()
}

/** Yes or no, Enter alone is yes: for a step that was described in full. @throws CANCELLED for Ctrl-C */
export async function askYes(message: string): Promise<boolean> {
  const { default: ask } = await import('@inquirer/confirm')
  return cancellable(async () => ask({ message, default: true }, { output: process.stderr }))
}

/** Ctrl-C at a prompt is a way out, not an error of kvx. */
async function cancellable<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (error instanceof Error && error.name === 'ExitPromptError') {
      throw new KvxError('CANCELLED', 'stopped at the prompt; nothing was changed')
    }
    throw error
  }
}
