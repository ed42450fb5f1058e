import { z } from 'zod'
import { KvxError } from '../core/errors.ts'

/**
 * Where the address of a server comes from: a text with `${NAME}` for what is secret, a file, or what a program
 * prints. A literal password is refused.
 */
const variable = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g

export const secretSource = z.union([
  z
    .string()
    .min(1)
    .refine(
      (text) => !hasPassword(text),
      'a password stands in the file: put the whole address into a variable and write its name in ${}, or say { file: … }',
    ),
  z.strictObject({ file: z.string().min(1) }),
  z.strictObject({
    command: z
      .array(z.string().min(1))
      .min(1)
      .refine(([first]) => first?.startsWith('/') === true, 'a program is named by its absolute path'),
    /** Variables of this process that the program gets. */
    env: z.array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'not a name of a variable')).default([]),
  }),
])

export type SecretSource = z.output<typeof secretSource>

function hasPassword(text: string): boolean {
  const bare = text.replaceAll(variable, '')
  const user = /^[a-z+]+:\/\/([^/?#]*)@/i.exec(bare)?.[1] ?? ''
  return /:./.test(user) || /[?&](ssl)?password=[^&#]/i.test(bare) || /\bpassword\s*=\s*\S/i.test(bare)
}

/**
 * The text with its variables. One that is the whole text is taken as it is, one inside an address is written in
 * the percent code of URLs, so that any password fits there.
 * @throws CONFIG_INVALID when one is not set
 */
export function expandVariables(text: string, what: string): string {
  return text.replaceAll(variable, (written, name: string) => {
    const value = process.env[name]
    if (value === undefined || value === '') {
      throw new KvxError('CONFIG_INVALID', `${what}: the variable ${name} is not set`, {
        hint: `Set it for this command only: \`${name}=… kvx …\`, or name a file: { file: /path }.`,
      })
    }
    return written === text ? value : encodeURIComponent(value)
  })
}

/** The same without an error: undefined where a variable is not set, or the secret lies elsewhere. */
export function knownText(source: SecretSource): string | undefined {
  if (typeof source !== 'string') return undefined
  const names = [...source.matchAll(variable)].map(([, name = '']) => name)
  return names.every((name) => (process.env[name] ?? '') !== '') ? expandVariables(source, '') : undefined
}

/** How a source is named where it is not opened: never what it holds. */
export function describeSource(source: SecretSource): string {
  if (typeof source === 'string') return source
  return 'file' in source ? `at ${source.file}` : `from ${source.command.join(' ')}`
}

/** The source with absolute paths. */
export function locateSource(source: SecretSource, absolute: (path: string) => string): SecretSource {
  return typeof source !== 'string' && 'file' in source ? { file: absolute(source.file) } : source
}
