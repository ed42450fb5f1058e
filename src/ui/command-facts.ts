/** A command as completion and manual pages need it. */
export type CommandFact = {
  /** `['key', 'list']` */
  readonly words: readonly string[]
  readonly summary: string
  readonly description: string
  readonly args: readonly ArgumentFact[]
  readonly flags: readonly FlagFact[]
  readonly examples: readonly { readonly description: string; readonly command: string }[]
}

export type ArgumentFact = {
  readonly name: string
  readonly description: string
  readonly required: boolean
  readonly multiple: boolean
}

export type FlagFact = {
  /** Without its dashes. */
  readonly name: string
  readonly description: string
  /** What the help calls its value; undefined for a switch. */
  readonly value: string | undefined
  /** All values that there are; empty where any is allowed. */
  readonly options: readonly string[]
  /** A flag of every command. */
  readonly isGlobal: boolean
  readonly multiple: boolean
  readonly required: boolean
}
