import * as Args from '@oclif/core/args'
import { KvxError } from '../../src/core/errors.ts'

type ArgumentOptions = {
  readonly description: string
  readonly required?: boolean
  readonly multiple?: boolean
}

/**
 * A positional argument. oclif would read a missing one from standard input, where a key may be waiting:
 * `ignoreStdin` is set on every one, and a test over the manifest keeps it so.
 */
export function argument(options: ArgumentOptions & { readonly required: true }) {
  return Args.string({ description: options.description, required: true, ignoreStdin: true })
}

export function optionalArgument(options: ArgumentOptions) {
  return Args.string({ description: options.description, required: false, ignoreStdin: true })
}

export function manyArguments(options: ArgumentOptions) {
  return Args.string({ description: options.description, required: false, multiple: true, ignoreStdin: true })
}

const shapes: readonly (readonly [RegExp, string])[] = [
  [/^[0-9a-f]{64}$/i, 'a 32-byte key in hex'],
  [/^[A-Za-z0-9+/]{43}=$/, 'a 32-byte key in base64'],
  [/^[A-Za-z0-9_-]{43}=?$/, 'a 32-byte key in base64url'],
  [/^kvx1[a-z0-9 .:-]{40,}$/i, 'a key share'],
  [/^([0-9A-Za-z]+-)?\d{1,2}-[0-9a-f]{32,}$/i, 'a key share of ssss'],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----/, 'a private key'],
]

/** Flags whose value is a public fingerprint of the same shape as a key in hex. */
const publicValues = new Set(['--expect-fingerprint', '--expect-head', '--recipient'])

/**
 * Arguments can be read by every user of the machine and stay in the shell's history.
 * @throws SECRET_IN_ARGUMENT when one of them looks like a key or a share; it is not repeated.
 */
export function refuseSecretsIn(argv: readonly string[]): void {
  argv.forEach((word, index) => {
    if (publicValues.has(argv[index - 1] ?? '')) return
    const [flag, ...rest] = word.split('=')
    const isAssignment = word.startsWith('--') && rest.length > 0
    if (isAssignment && publicValues.has(flag ?? '')) return
    const value = isAssignment ? rest.join('=') : word
    const found = shapes.find(([shape]) => shape.test(value))
    if (found === undefined) return
    throw new KvxError('SECRET_IN_ARGUMENT', `argument ${index + 1} looks like ${found[1]}`, {
      hint: 'It is in the history of your shell and was visible to every user: replace that key. Give secrets by `--key-file`, standard input or a prompt.',
    })
  })
}
