import type { CommandFact, FlagFact } from './command-facts.ts'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

export type Topic = { readonly name: string; readonly summary: string }

/** A node of the tree of words: the program itself, a topic, or a command. */
type Node = {
  /** `''`, `key`, `key list`. */
  readonly at: string
  readonly children: readonly { readonly word: string; readonly summary: string }[]
  readonly flags: readonly FlagFact[]
  readonly takesFiles: boolean
}

/** A static script: what it offers was known when it was made, and it runs no kvx. */
export function completionScript(
  shell: Shell,
  commands: readonly CommandFact[],
  topics: readonly Topic[],
): readonly string[] {
  const nodes = nodesOf(commands, topics)
  if (shell === 'bash') return bash(nodes)
  return shell === 'zsh' ? zsh(nodes) : fish(nodes)
}

function nodesOf(commands: readonly CommandFact[], topics: readonly Topic[]): readonly Node[] {
  const names = new Set(commands.map(({ words }) => words.join(' ')))
  const folders = topics.filter(({ name }) =>
    commands.some(({ words }) => words.length > 1 && words[0] === name),
  )
  const top = [
    ...commands
      .filter(({ words }) => words.length === 1)
      .map(({ words, summary }) => ({ word: words[0] ?? '', summary })),
    ...folders.filter(({ name }) => !names.has(name)).map(({ name, summary }) => ({ word: name, summary })),
  ]
  const below = (name: string): Node['children'] =>
    commands
      .filter(({ words }) => words.length === 2 && words[0] === name)
      .map(({ words, summary }) => ({ word: words[1] ?? '', summary }))
  const leaf = { flags: [], takesFiles: false }
  return [
    { at: '', children: top.toSorted((one, other) => (one.word < other.word ? -1 : 1)), ...leaf },
    ...folders
      .filter(({ name }) => !names.has(name))
      .map(({ name }) => ({ at: name, children: below(name), ...leaf })),
    ...commands.map(({ words, flags, args }) => ({
      at: words.join(' '),
      children: words.length === 1 ? below(words[0] ?? '') : [],
      flags,
      takesFiles: args.some(({ name, description }) => isPath(name) || /\bfiles?\b/.test(description)),
    })),
  ]
}

function isPath(value: string | undefined): boolean {
  return value !== undefined && /^(FILE|PATH|PLAN|DIR)/.test(value)
}

/** Every step from one node to the next: the words that were typed lead down as far as they can. */
function steps(nodes: readonly Node[]): readonly (readonly [at: string, word: string, to: string])[] {
  return nodes.flatMap(({ at, children }) =>
    children.map(({ word }) => [at, word, at === '' ? word : `${at} ${word}`] as const),
  )
}

function bash(nodes: readonly Node[]): readonly string[] {
  return [
    '# Completion of kvx for bash. To try it: source <(kvx completion bash)',
    '# For all shells of a user: kvx completion bash > ~/.local/share/bash-completion/completions/kvx',
    '_kvx() {',
    '  local at= word i previous=${COMP_WORDS[COMP_CWORD-1]} current=${COMP_WORDS[COMP_CWORD]}',
    '  for ((i = 1; i < COMP_CWORD; i++)); do',
    '    word=${COMP_WORDS[i]}',
    '    [[ $word == -* ]] && continue',
    '    case "$at/$word" in',
    ...steps(nodes).map(([at, word, to]) => `      '${at}/${word}') at='${to}' ;;`),
    '      *) break ;;',
    '    esac',
    '  done',
    '  # bash takes `--flag=value` for three words.',
    '  if [[ $current == = ]]; then current=; elif [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi',
    '  COMPREPLY=()',
    '  case "$at:$previous" in',
    ...nodes.flatMap(({ at, flags }) =>
      flags.filter(({ value }) => value !== undefined).map((flag) => bashValue(at, flag)),
    ),
    '  esac',
    '  local words= files=',
    '  case $at in',
    ...nodes.map(({ at, children, flags, takesFiles }) => {
      const words = children.map(({ word }) => word).join(' ')
      const long = flags.map(({ name }) => `--${name}`).join(' ')
      return `    '${at}') if [[ $current == -* ]]; then words='${long} --help'; else words='${words}'; files=${takesFiles ? 'yes' : ''}; fi ;;`
    }),
    '  esac',
    '  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"; [[ -n $files ]] && compgen -f -- "$current")',
    '}',
    'complete -o filenames -o bashdefault -F _kvx kvx',
  ]
}

function bashValue(at: string, { name, value, options }: FlagFact): string {
  const pattern = `    '${at}:--${name}')`
  if (options.length > 0)
    return `${pattern} mapfile -t COMPREPLY < <(compgen -W '${options.join(' ')}' -- "$current"); return ;;`
  if (value?.startsWith('DIR') === true)
    return `${pattern} mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;`
  return isPath(value)
    ? `${pattern} mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;`
    : `${pattern} return ;;`
}

function zsh(nodes: readonly Node[]): readonly string[] {
  return [
    '#compdef kvx',
    '# Completion of kvx for zsh. To try it: source <(kvx completion zsh)',
    '# For good: kvx completion zsh > a file named _kvx in a folder of $fpath',
    '_kvx() {',
    '  local at= word',
    '  integer i',
    '  for ((i = 2; i < CURRENT; i++)); do',
    '    word=$words[i]',
    '    [[ $word == -* ]] && continue',
    '    case "$at/$word" in',
    ...steps(nodes).map(([at, word, to]) => `      '${at}/${word}') at='${to}' ;;`),
    '      *) break ;;',
    '    esac',
    '  done',
    '  local -a list',
    '  case $at in',
    ...nodes.flatMap(zshNode),
    '  esac',
    '}',
    'if [[ $funcstack[1] == _kvx ]]; then _kvx "$@"; else compdef _kvx kvx; fi',
  ]
}

function zshNode({ at, children, flags, takesFiles }: Node): readonly string[] {
  const words = children.map(({ word, summary }) => `      '${word}:${zshText(summary)}'`)
  const list =
    children.length === 0
      ? []
      : [
          '    if [[ $PREFIX != -* ]]; then',
          '      list=(',
          ...words,
          '      )',
          "      _describe -t commands 'kvx command' list",
          '      return',
          '    fi',
        ]
  if (flags.length === 0) return [`  '${at}')`, ...list, '    ;;']
  const specs = flags.map(
    ({ name, description, value, options, multiple }) =>
      `      '${multiple ? '*' : ''}--${name}${value === undefined ? '' : '='}[${zshText(description)}]${zshValue(value, options)}'`,
  )
  const rest = takesFiles ? "      '*:file:_files'" : "      '*: :'"
  return [
    `  '${at}')`,
    ...list,
    '    _arguments -S \\',
    ...[...specs, rest].map((line, index, all) => (index === all.length - 1 ? line : `${line} \\`)),
    '    ;;',
  ]
}

function zshValue(value: string | undefined, options: readonly string[]): string {
  if (value === undefined) return ''
  if (options.length > 0) return `:${value}:(${options.join(' ')})`
  if (value.startsWith('DIR')) return `:${value}:_files -/`
  return isPath(value) ? `:${value}:_files` : `:${value}: `
}

function zshText(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, (sign) => `\\${sign}`).replaceAll("'", '’')
}

function fish(nodes: readonly Node[]): readonly string[] {
  return [
    '# Completion of kvx for fish. To try it: kvx completion fish | source',
    '# For good: kvx completion fish > ~/.config/fish/completions/kvx.fish',
    'function __kvx_at',
    "  set -l at ''",
    '  for word in (commandline -opc)[2..-1]',
    "    string match -q -- '-*' $word; and continue",
    '    switch "$at/$word"',
    ...steps(nodes).map(([at, word, to]) => `      case '${at}/${word}'; set at '${to}'`),
    "      case '*'; break",
    '    end',
    '  end',
    '  test "$at" = "$argv[1]"',
    'end',
    'complete -c kvx -f',
    ...nodes.flatMap(({ at, children, flags, takesFiles }) => [
      ...children.map(
        ({ word, summary }) => `complete -c kvx -n "__kvx_at '${at}'" -a '${word}' -d '${fishText(summary)}'`,
      ),
      ...flags.map(
        (flag) =>
          `complete -c kvx -n "__kvx_at '${at}'" -l ${flag.name}${fishValue(flag)} -d '${fishText(flag.description)}'`,
      ),
      ...(takesFiles ? [`complete -c kvx -n "__kvx_at '${at}'" -F`] : []),
    ]),
  ]
}

function fishValue({ value, options }: FlagFact): string {
  if (value === undefined) return ''
  if (options.length > 0) return ` -x -a '${options.join(' ')}'`
  if (value.startsWith('DIR')) return " -x -a '(__fish_complete_directories)'"
  return isPath(value) ? ' -r -F' : ' -x'
}

function fishText(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
}
