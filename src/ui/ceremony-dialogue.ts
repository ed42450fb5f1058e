import { nextStep } from '../ceremony/build-record.ts'
import { digestLines } from '../ceremony/digest.ts'
import type { EventLog, LoadedPlan } from '../ceremony/folder.ts'
import { shownCommand } from '../ceremony/plan-text.ts'
import type { PlanRole, PlanStep } from '../ceremony/plan.ts'
import type { CeremonyEvent } from '../ceremony/record.ts'
import { secretIn } from '../ceremony/self-scan.ts'
import type { Finding } from '../ceremony/preflight.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { isoNow } from '../platform/clock.ts'
import { findingLines } from './ceremony-view.ts'
import { askInput, askYes } from './prompts.ts'

/** What a ceremony does besides asking. */
export type Hands = {
  /** Runs a kvx command on this terminal and says how it ended. */
  readonly runCommand: (words: readonly string[]) => Promise<number>
  readonly preflight: () => Promise<readonly Finding[]>
  /** What `@set@` (the newest share set of the key) and `@newest@` (its newest version) stand for. */
  readonly standsFor: (placeholder: string) => Promise<string | undefined>
}

type Draft = Omit<CeremonyEvent, 'seq' | 'prev' | 'at'>

/** Leads the people through a plan, step by step. Nothing is recorded that looks like a key or a share. */
export class CeremonyDialogue {
  readonly #loaded: LoadedPlan
  readonly #log: EventLog
  readonly #hands: Hands
  readonly #mark: string

  constructor(loaded: LoadedPlan, log: EventLog, hands: Hands, rehearsal: boolean) {
    this.#loaded = loaded
    this.#log = log
    this.#hands = hands
    this.#mark = rehearsal ? 'REHEARSAL  ' : ''
  }

  /**
   * From the first question to the last step. Ctrl-C at a question stops the ceremony as `q` does.
   * @throws PLAN_DIFFERS, CLOCK_BEHIND, INTERRUPTED, UNSAFE_PROCESS, CANCELLED
   */
  async conduct(): Promise<void> {
    try {
      await this.#conduct()
    } catch (error) {
      throw isKvxError(error, 'CANCELLED') && this.#log.events.length > 0 ? stopped() : error
    }
  }

  async #conduct(): Promise<void> {
    const { plan, digest } = this.#loaded
    this.#say(
      '',
      plan.title,
      `ceremony ${plan.id}, nonce ${plan.nonce}`,
      'SHA-256 of the plan:',
      ...digestLines(digest),
    )
    await this.#requireYes('Does the printed script show the same SHA-256 and the same nonce?', differs)
    await this.#begin()
    for (const role of plan.roles) await this.#introduce(role)
    for (let number = nextStep(this.#log.events); number <= plan.steps.length; number++) {
      const step = plan.steps[number - 1]
      if (step !== undefined) await this.#step(step, number)
    }
  }

  async #begin(): Promise<void> {
    const isGoingOn = this.#log.events.length > 0
    if (isGoingOn) {
      const text = await this.#ask('This ceremony was interrupted before. Why?')
      return this.#record({ kind: 'interrupted', step: 0, actor: 'administrator', text })
    }
    const clock = isoNow()
    await this.#requireYes(
      `This machine says that it is ${clock} (UTC). Is that right, to the minute?`,
      wrongClock,
    )
    const place = await this.#ask('Where does this take place?')
    const image = await this.#ask(
      'Image that this machine was started from, its name or SHA-256 (Enter: not known)',
      { isOptional: true, name: 'image' },
    )
    await this.#record({
      kind: 'begin',
      step: 0,
      actor: 'administrator',
      text: 'the ceremony begins',
      data: { place, image, clock: `${clock}, confirmed by the people present` },
    })
  }

  async #introduce(role: PlanRole): Promise<void> {
    if (this.#log.events.some(({ kind, actor }) => kind === 'role' && actor === role.role)) return
    this.#say('', `${role.role}: ${role.duty}`)
    const name = role.name ?? (await this.#ask(`Name of the ${role.role}`))
    const identified = await this.#ask(`How do the others know that this is ${name}?`)
    const openpgp =
      role.openpgp ??
      (await askInput(
        `${this.#mark}OpenPGP fingerprint that ${name} signs the record with (Enter: signs on paper)`,
        {
          validate: (text) =>
            fingerprintForm.test(plainFingerprint(text)) || text === '' || '40 hex digits, or nothing',
        },
      ))
    await this.#record({
      kind: 'role',
      step: 0,
      actor: role.role,
      text: `${name} is here`,
      data: { name, identified, openpgp: plainFingerprint(openpgp) },
    })
  }

  async #step(step: PlanStep, number: number): Promise<void> {
    const { plan } = this.#loaded
    const words = this.#mark === '' ? step.run : (step.rehearse ?? step.run)
    this.#say(
      '',
      `Step ${number} of ${plan.steps.length}: ${step.title}  [${step.role}, ${this.#nameOf(step.role)}]`,
      ...step.text.split('\n').map((line) => `  ${line}`),
      ...(words === undefined ? [] : [`  runs: kvx ${shownCommand(words)}`]),
      ...(step.expect === undefined ? [] : [`  expected: ${step.expect}`]),
    )
    const choice = await this.#choose(
      `Enter: ${words === undefined ? 'done' : 'run it'} · s: skip · q: stop here`,
      ['', 's', 'q'],
    )
    if (choice === 'q') throw stopped()
    if (choice === 's') return this.#skip(step, number)
    if (words !== undefined && !(await this.#run(words, step, number))) return this.#skip(step, number)
    await this.#questions(step, number)
    await this.#askDeviation(step, number)
    await this.#record({ kind: 'done', step: number, actor: step.role, text: step.title })
  }

  async #skip(step: PlanStep, number: number): Promise<void> {
    const text = await this.#ask('Why is this step skipped?')
    await this.#record({ kind: 'skipped', step: number, actor: step.role, text: `${step.title}: ${text}` })
  }

  async #askDeviation(step: PlanStep, number: number): Promise<void> {
    for (;;) {
      const text = await this.#ask('Was anything not as it stands in the script? (Enter: no)', {
        isOptional: true,
      })
      if (text === '') return
      await this.#record({ kind: 'deviation', step: number, actor: step.role, text })
    }
  }

  async #questions(step: PlanStep, number: number): Promise<void> {
    for (const [name, question] of Object.entries(step.ask)) {
      const text = await this.#ask(question)
      await this.#record({
        kind: 'answer',
        step: number,
        actor: step.role,
        text: question,
        data: { [name]: text },
      })
    }
  }

  /** True when the command ended as it should, or when the people go on all the same; false to skip the step. */
  async #run(words: readonly string[], step: PlanStep, number: number): Promise<boolean> {
    for (;;) {
      const exit =
        words.join(' ') === 'ceremony preflight'
          ? await this.#preflight(number)
          : await this.#command(words, number)
      if (exit !== undefined && step.exit.includes(exit)) return true
      const choice = await this.#choose(
        'That is not as it should be. r: run it again · g: go on, as a deviation · s: skip · q: stop here',
        ['r', 'g', 's', 'q'],
      )
      if (choice === 'q') throw stopped()
      if (choice === 's') return false
      if (choice === 'r') continue
      const text = await this.#ask('Why go on?')
      await this.#record({ kind: 'deviation', step: number, actor: step.role, text })
      return true
    }
  }

  async #command(words: readonly string[], number: number): Promise<number | undefined> {
    const typed: string[] = []
    for (const word of words) {
      const isOpen = word === '@set@' || word === '@newest@'
      const found = isOpen ? await this.#hands.standsFor(word) : word
      if (found === undefined) {
        this.#say(word === '@set@' ? 'There is no share set yet.' : 'There is no version of the key yet.')
        return undefined
      }
      typed.push(found)
    }
    const text = `kvx ${typed.join(' ')}`
    this.#say(`$ ${text}`)
    const exit = await this.#hands.runCommand(typed)
    this.#say(`ended with exit ${exit}`)
    await this.#record({ kind: 'command', step: number, actor: 'administrator', text, exit })
    return exit
  }

  async #preflight(number: number): Promise<number> {
    const findings = await this.#hands.preflight()
    this.#say(...findingLines(findings))
    for (const { name, state, message } of findings) {
      await this.#record({
        kind: 'preflight',
        step: number,
        actor: 'administrator',
        text: `${state.toUpperCase()} ${name}: ${message}`,
      })
    }
    return findings.some(({ state }) => state === 'stop') ? 6 : 0
  }

  #nameOf(role: string): string {
    return (
      this.#log.events.find(({ kind, actor }) => kind === 'role' && actor === role)?.data?.['name'] ?? role
    )
  }

  async #record(draft: Draft): Promise<void> {
    await this.#log.append({ at: isoNow(), ...draft })
  }

  async #ask(
    question: string,
    options: { readonly isOptional?: boolean; readonly name?: string } = {},
  ): Promise<string> {
    return askInput(`${this.#mark}${question}`, {
      validate: (text) => {
        if (text === '') return options.isOptional === true || 'an answer is needed'
        if (!/^[^\p{Cc}]{1,1000}$/u.test(text)) return 'one line of up to 1,000 characters'
        const what = secretIn(text, options.name === 'image')
        return what === undefined || `this looks like ${what}: it is not recorded; say it in other words`
      },
    })
  }

  async #choose(question: string, answers: readonly string[]): Promise<string> {
    return askInput(`${this.#mark}${question}`, {
      validate: (text) =>
        answers.includes(text) || `one of ${answers.map((one) => one || 'Enter').join(', ')}`,
    })
  }

  async #requireYes(question: string, refusal: () => KvxError): Promise<void> {
    if (!(await askYes(`${this.#mark}${question}`))) throw refusal()
  }

  #say(...lines: readonly string[]): void {
    process.stderr.write(lines.map((line) => `${line === '' ? '' : this.#mark}${line}\n`).join(''))
  }
}

const fingerprintForm = /^[0-9A-F]{40}$/

function plainFingerprint(text: string): string {
  return text.replaceAll(/\s/g, '').toUpperCase()
}

function differs(): KvxError {
  return new KvxError('PLAN_DIFFERS', 'the printed script is not that of this plan', {
    hint: 'Print `plan.md` of this folder, and find out where the other script comes from.',
  })
}

function wrongClock(): KvxError {
  return new KvxError('CLOCK_BEHIND', 'the clock of this machine is wrong', {
    hint: "Set it, in UTC: `date -u -s '2026-01-31 12:00'`. Times of events, and the dates of keys, depend on it.",
  })
}

function stopped(): KvxError {
  return new KvxError('INTERRUPTED', 'the ceremony was stopped; every step until here is recorded', {
    hint: 'Go on later with the same command, or write the record of what was done: `kvx ceremony run FOLDER --end`.',
  })
}
